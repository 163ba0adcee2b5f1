"""Penny: a subject that the base cannot draw, for a first LoRA.

A little dragon in side view, with legs and a tail, where the world has only upright creatures in front view; with a yellow
hide, red plates along its back, a blue diamond on its flank and a red scarf. The trigger names all of that. What varies
between pictures (scene, expression, hat, item held by the tail) has the world's tags.
"""

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from PIL import Image

from lorapipe.pocket.draw import EYES, MOUTHS
from lorapipe.pocket.hats_and_items import HATS, HELD
from lorapipe.pocket.pen import Pen, Point, oval
from lorapipe.pocket.scenes import draw_scene
from lorapipe.pocket.world import ATTRIBUTES

TRIGGER = "penny"
PARTS = ("head", "tail", "legs", "plates", "diamond", "scarf")
"""Parts of a complete Penny."""
HIDE, PLATES, DIAMOND, SCARF = (252, 214, 62), (226, 58, 58), (58, 116, 228), (226, 58, 58)


@dataclass(frozen=True)
class Pose:
    """One picture of Penny: attributes with tags, then the pose, which has none.

    `neck` (0..1) goes from stretched forward to upright, `stride` (-1..1) swings the legs; the rest as in `Creature`.
    """

    background: str
    eyes: str
    mouth: str
    hat: str
    held: str
    neck: float
    stride: float
    x: float
    y: float
    scale: float
    mirrored: bool
    chance: int


def pose(rng: Random, background: str) -> Pose:
    """Draw a random pose in front of `background`; every second has a hat and every third an item."""
    return Pose(
        background,
        eyes=rng.choice(("big eyes", "small eyes", "closed eyes", "angry eyes")),
        mouth=rng.choice(("smile", "frown", "open mouth", "tongue out")),
        hat=rng.choice(ATTRIBUTES["hat"][1:]) if rng.random() < 0.4 else "no hat",
        held=rng.choice(ATTRIBUTES["held"][1:]) if rng.random() < 0.33 else "empty hands",
        neck=rng.random(),
        stride=rng.uniform(-1, 1),
        x=rng.uniform(-3, 3),
        y=rng.uniform(-2, 2),
        scale=rng.uniform(0.92, 1.06),
        mirrored=rng.random() < 0.5,
        chance=rng.randrange(1 << 16),
    )


def caption(subject: Pose) -> str:
    """Return the trigger and the tags of what varies."""
    varying = [subject.background, subject.eyes, subject.mouth]
    varying += [tag for tag in (subject.hat, subject.held) if tag not in ("no hat", "empty hands")]
    return ", ".join([TRIGGER, *varying])


def picture(rng: Random, background: str, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """Draw Penny in a random pose in front of `background`; return picture and caption."""
    subject = pose(rng, background)
    return draw(subject, Pen(*size)), caption(subject)


def draw(subject: Pose, pen: Pen, without: Collection[str] = ()) -> Image.Image:
    """Draw Penny in the size and style of `pen`, `without` some of her `PARTS`."""
    draw_scene(pen, subject.background, Random(subject.chance))
    left, top, grow = pen.width / 2 + subject.x, pen.height / 2 + subject.y, subject.scale
    pen.move(left, top, grow, subject.mirrored)
    head = (12 - 3 * subject.neck, -4 - 4 * subject.neck)
    if subject.held in HELD:
        HELD[subject.held](pen, -21, 1)
    if "plates" not in without:
        _plates(pen)
    _hide(pen, head, subject.stride, without)
    if "diamond" not in without:
        pen.shape([(-9.5, 4.5), (-4.5, 9.5), (-9.5, 14.5), (-14.5, 9.5)], DIAMOND)
    if "head" not in without:
        _face(pen, subject, (left, top), head)
    return pen.picture()


def _face(pen: Pen, subject: Pose, place: Point, head: Point) -> None:
    side, grow = -1 if subject.mirrored else 1, subject.scale
    pen.move(place[0] + side * grow * head[0], place[1] + grow * head[1], grow, subject.mirrored)
    EYES[subject.eyes](pen, -2.5)
    MOUTHS[subject.mouth](pen, 5)
    if subject.hat in HATS:
        HATS[subject.hat](pen, -9)


def _legs(pen: Pen, stride: float) -> None:
    for hip in (-13.5, 2):
        foot = hip + 2 * stride
        pen.shape([(hip - 3.6, 11), (hip + 3.6, 11), (foot + 3.8, 22), (foot - 3.8, 22)], HIDE)


def _plates(pen: Pen) -> None:
    for x, y, size in ((-14, 3, 5.5), (-4, 1.5, 5.5)):
        pen.shape([(x - size, y + 5), (x - 1, y - size - 1), (x + size, y + 5)], PLATES)


def _hide(pen: Pen, head: Point, stride: float, without: Collection[str]) -> None:
    """Draw all parts with outlines, then again without, so that they merge into one; the head on top."""
    x, y = head
    neck: list[Point] = [(0, 4), (x - 6, y + 2), (x + 5, y + 4), (10, 12)]
    parts = [oval(-5, 10, 14.5, 7.5, 2.4)]
    parts += [[(-14, 5), (-19, 3), (-25, -3), (-23, 8), (-14, 14)]] if "tail" not in without else []
    parts += [neck] if "head" not in without else []
    if "legs" not in without:
        _legs(pen, stride)
    for part in parts:
        pen.shape(part, HIDE)
    for part in parts:
        pen.fill(part, HIDE)
    if "scarf" not in without:
        pen.shape(oval((x + 4) / 2 + 1, (y + 10) / 2 + 5.5, 7, 3.4, 3), SCARF)
    if "head" not in without:
        pen.shape(oval(x, y, 12, 10, 2.4), HIDE)

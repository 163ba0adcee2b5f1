"""Penny: a subject that the base cannot draw, for a first LoRA.

A long-necked, four-legged animal seen from the side, where the world has only upright creatures seen from the front;
with a yellow hide, red plates along its back, a blue diamond on its flank and a red scarf. Those belong to the
trigger word. What varies from picture to picture (scene, expression, hat, what its tail holds) has the world's tags.
"""

from dataclasses import dataclass
from random import Random

from PIL import Image

from lorapipe.pocket.draw import EYES, MOUTHS
from lorapipe.pocket.hats_and_items import HATS, HELD
from lorapipe.pocket.pen import Pen, Point, oval
from lorapipe.pocket.scenes import draw_scene
from lorapipe.pocket.world import ATTRIBUTES

TRIGGER = "penny"
HIDE, FAR_SIDE, PLATES, DIAMOND, SCARF = (252, 214, 62), (202, 158, 40), (226, 58, 58), (58, 116, 228), (226, 58, 58)


@dataclass(frozen=True)
class Pose:
    """One picture of Penny: the tagged part, then the pose, which no tag names.

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
    """A pose in front of `background`; every second one wears a hat and every third holds something."""
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
    """The trigger and the tags of what varies."""
    varying = [subject.background, subject.eyes, subject.mouth]
    varying += [tag for tag in (subject.hat, subject.held) if tag not in ("no hat", "empty hands")]
    return ", ".join([TRIGGER, *varying])


def draw(subject: Pose, pen: Pen) -> Image.Image:
    """Penny in `pen`'s size and style."""
    draw_scene(pen, subject.background, Random(subject.chance))
    left, top, grow = pen.width / 2 + subject.x, pen.height / 2 + subject.y, subject.scale
    pen.move(left, top, grow, subject.mirrored)
    head = (14 + 4 * (1 - subject.neck), -9 - 7 * subject.neck)
    if subject.held in HELD:
        HELD[subject.held](pen, -23, 0)
    _legs(pen, subject.stride, far=True)
    _plates(pen, head)
    _hide(pen, head, subject.stride)
    pen.shape([(-3, 1), (2, 6), (-3, 11), (-8, 6)], DIAMOND, 1.2)
    _scarf(pen, head)
    side = -1 if subject.mirrored else 1
    pen.move(left + side * grow * (head[0] + 0.5), top + grow * head[1], grow * 0.8, subject.mirrored)
    EYES[subject.eyes](pen, -2.5)
    MOUTHS[subject.mouth](pen, 4.5)
    if subject.hat in HATS:
        HATS[subject.hat](pen, -8)
    return pen.picture()


def _legs(pen: Pen, stride: float, far: bool) -> None:
    for hip in (-8, 9) if far else (-13, 4):
        swing = stride * (-2.5 if far else 2.5)
        foot = hip + swing
        pen.shape([(hip - 2.6, 7), (hip + 2.6, 7), (foot + 2.8, 21), (foot - 2.8, 21)], FAR_SIDE if far else HIDE)


def _plates(pen: Pen, head: Point) -> None:
    for x, y, size in ((-18, 2, 3.6), (-11.5, -1.5, 5), (-4, -3, 5.6), (3, -2, 4.6)):
        pen.shape([(x - size, y + 4), (x - 0.5, y - size - 1.5), (x + size, y + 4)], PLATES, 1.2)


def _hide(pen: Pen, head: Point, stride: float) -> None:
    """All of it in outline first and then again without, so that the parts flow into each other."""
    x, y = head
    parts: list[list[Point]] = [
        [(-12, 1), (-19, 0), (-25, -5), (-21, 5), (-12, 10)],
        oval(-3, 6, 14.5, 8),
        [(4, 1), (x - 5, y + 2), (x + 3, y + 4), (12, 8)],
        oval(x, y, 9.5, 7.5, 2.4),
    ]
    _legs(pen, stride, far=False)
    for part in parts:
        pen.shape(part, HIDE)
    for part in parts:
        pen.fill(part, HIDE)


def _scarf(pen: Pen, head: Point) -> None:
    x, y = (head[0] - 1) * 0.55 + 8 * 0.45, (head[1] + 6) * 0.55 + 3 * 0.45
    pen.shape([(x - 7, y + 3), (x - 9, y + 11), (x - 4.5, y + 10), (x - 2.5, y + 3)], SCARF, 1.2)
    pen.shape([(x - 6.5, y - 2.4), (x + 6, y + 0.4), (x + 5.5, y + 4.6), (x - 7, y + 2)], SCARF, 1.2)

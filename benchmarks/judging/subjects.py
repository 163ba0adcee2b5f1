"""Subjects with known parts, drawn with the pocket base's own pen: what a picture shows is told, not guessed.

A subject is one choice for each of `PARTS`; a picture of it also has `TAGS` and a pose. None of them is an example's
subject.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from PIL import Image

from lorapipe.pocket.draw import COLOURS, EYES, MOUTHS
from lorapipe.pocket.hats_and_items import HATS, HELD
from lorapipe.pocket.pen import DARK, Pen, arc, box, mix, oval, star
from lorapipe.pocket.scenes import WHITE, draw_scene
from lorapipe.pocket.world import ATTRIBUTES

PARTS: dict[str, tuple[str, ...]] = {
    "kind": ("quadruped", "bird", "fish", "snail"),
    "hide": ("yellow", "green", "blue", "purple", "pink", "orange", "white"),
    "mark": ("diamond", "star", "stripes", "spots"),
    "neck": ("scarf", "bell", "bow tie"),
    "back": ("plates", "saddle", "wings", "flag pole"),
}
TAGS: dict[str, tuple[str, ...]] = {
    "background": ATTRIBUTES["background"],
    "eyes": ("big eyes", "small eyes", "closed eyes", "angry eyes"),
    "hat": ("no hat", *HATS),
    "held": ("empty hands", *HELD),
}
UNSAID = frozenset({"no hat", "empty hands"})
ACCENTS = {"yellow": "red", "green": "orange", "blue": "yellow", "purple": "green", "pink": "blue", "orange": "purple",
           "white": "red"}  # fmt: skip
"""The colour of a subject's neckwear and back, by its hide."""


@dataclass(frozen=True)
class Drawing:
    """What one picture shows: a part is missing where it is not there at all."""

    parts: dict[str, str]
    tags: dict[str, str]
    pose: tuple[float, float, float, float] = (0.5, 0.0, 0.0, 1.0)
    mirrored: bool = False
    chance: int = 0
    caption: str = field(default="", compare=False)


def subject(seed: int) -> dict[str, str]:
    """The parts of a subject."""
    rng = Random(f"subject {seed}")
    return {name: rng.choice(values) for name, values in PARTS.items()}


def picture_of(parts: dict[str, str], rng: Random, background: str | None = None) -> Drawing:
    """A drawing of a subject in a random pose, scene and clothing."""
    tags = {
        "background": background or rng.choice(TAGS["background"]),
        "eyes": rng.choice(TAGS["eyes"]),
        "hat": rng.choice(TAGS["hat"][1:]) if rng.random() < 0.5 else "no hat",
        "held": rng.choice(TAGS["held"][1:]) if rng.random() < 0.45 else "empty hands",
    }
    pose = (rng.random(), rng.uniform(-3, 3), rng.uniform(-2, 2), rng.uniform(0.92, 1.06))
    return Drawing(parts, tags, pose, rng.random() < 0.5, rng.randrange(1 << 16))


def caption(trigger: str, drawing: Drawing) -> str:
    """The trigger and the tags of what varies."""
    return ", ".join([trigger, *(tag for tag in drawing.tags.values() if tag not in UNSAID)])


def draw(drawing: Drawing, pen: Pen | None = None) -> Image.Image:
    """The picture, 64 × 64 unless `pen` says otherwise."""
    pen, (lift, x, y, scale) = pen or Pen(), drawing.pose
    draw_scene(pen, drawing.tags["background"], Random(drawing.chance))
    left, top = pen.width / 2 + x, pen.height / 2 + y
    pen.move(left, top, scale, drawing.mirrored)
    if drawing.tags["held"] in HELD:
        HELD[drawing.tags["held"]](pen, -24, 2)
    head = BODIES[drawing.parts["kind"]](pen, drawing, lift)
    side = -1 if drawing.mirrored else 1
    pen.move(left + side * scale * head[0], top + scale * head[1], scale * 0.8, drawing.mirrored)
    EYES[drawing.tags["eyes"]](pen, -2.5)
    MOUTHS["smile"](pen, 4.5)
    if drawing.tags["hat"] in HATS:
        HATS[drawing.tags["hat"]](pen, -8)
    return pen.picture()


def _dress(pen: Pen, drawing: Drawing, flank: tuple[float, float], throat: tuple[float, float]) -> None:
    """The mark on the flank and what is worn around the neck."""
    parts, accent = drawing.parts, COLOURS[ACCENTS[drawing.parts["hide"]]]
    dark = mix(accent, DARK, 0.35)
    x, y = flank
    mark, neck = parts.get("mark"), parts.get("neck")
    if mark == "diamond":
        pen.shape([(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)], accent, 1.1)
    elif mark == "star":
        pen.shape(star(x, y, 6, 2.7), WHITE if parts["hide"] != "white" else accent, 1.1)
    elif mark == "stripes":
        for at in (-6, -1, 4):
            pen.fill(box(x + at, y - 6, x + at + 2.6, y + 6), dark)
    elif mark == "spots":
        for across, down, size in ((-6, -2, 2.4), (0, 3, 2.8), (5, -3, 2.4), (-2, -5, 1.8)):
            pen.fill(oval(x + across, y + down, size), dark)
    x, y = throat
    if neck == "scarf":
        pen.shape([(x - 7, y + 2), (x - 8, y + 11), (x - 3.5, y + 10), (x - 2, y + 2)], accent, 1.1)
        pen.shape(box(x - 7, y - 2, x + 6, y + 3), accent, 1.1)
    elif neck == "bell":
        pen.line([(x - 6, y - 1), (x + 5, y + 1)], 2.2)
        pen.shape(oval(x, y + 4.5, 3.8), (252, 214, 62), 1.1)
        pen.fill(oval(x, y + 6.5, 1.0), DARK)
    elif neck == "bow tie":
        for side in (-1, 1):
            pen.shape([(x, y), (x + 7 * side, y - 4.5), (x + 7 * side, y + 4.5)], accent, 1.1)


def _back(pen: Pen, drawing: Drawing, x: float, y: float) -> None:
    """What the subject has on its back, whose middle is (x, y)."""
    accent, back = COLOURS[ACCENTS[drawing.parts["hide"]]], drawing.parts.get("back")
    if back == "plates":
        for at, size in ((-9, 4), (-2, 5.4), (5, 4.4)):
            pen.shape([(x + at - size, y + 4), (x + at, y - size - 2), (x + at + size, y + 4)], accent, 1.2)
    elif back == "saddle":
        pen.shape([(x - 7, y - 3), (x + 7, y - 3), (x + 5, y + 6), (x - 5, y + 6)], accent, 1.2)
    elif back == "wings":
        pen.shape([(x - 3, y + 3), (x - 13, y - 11), (x + 4, y - 5), (x + 4, y + 2)], WHITE, 1.2)
    elif back == "flag pole":
        pen.line([(x, y + 3), (x, y - 14)], 1.6)
        pen.shape([(x, y - 14), (x - 10, y - 10.5), (x, y - 7)], accent, 1.1)


def _quadruped(pen: Pen, drawing: Drawing, lift: float) -> tuple[float, float]:
    hide = COLOURS[drawing.parts["hide"]]
    head = (13 + 3 * (1 - lift), -8 - 6 * lift)
    if drawing.parts.get("back") != "saddle":
        _back(pen, drawing, -4, -3)
    for hip, shade in ((-8, 0.25), (8, 0.25), (-13, 0), (4, 0)):
        pen.shape(box(hip - 2.6, 7, hip + 2.6, 21), mix(hide, DARK, shade))
    parts = [oval(-3, 6, 14.5, 8), [(4, 1), (head[0] - 5, head[1] + 2), (head[0] + 3, head[1] + 4), (12, 8)],
             oval(*head, 9.5, 7.5, 2.4)]  # fmt: skip
    _flow(pen, parts, hide)
    if drawing.parts.get("back") == "saddle":
        _back(pen, drawing, -4, 0)
    _dress(pen, drawing, (-5, 7), ((head[0] - 1) * 0.55 + 3.6, (head[1] + 6) * 0.55 + 1.3))
    return head


def _bird(pen: Pen, drawing: Drawing, lift: float) -> tuple[float, float]:
    hide, head = COLOURS[drawing.parts["hide"]], (6.0, -11 - 3 * lift)
    for foot in (-3, 4):
        pen.line([(foot, 14), (foot + 1, 21), (foot + 5, 21)], 1.8, (246, 142, 44))
    pen.shape([(-9, 3), (-23, -2), (-22, 6), (-9, 11)], mix(hide, DARK, 0.25))
    if drawing.parts.get("back") != "saddle":
        _back(pen, drawing, -7, -2)
    _flow(pen, [oval(-1, 6, 11.5, 10), oval(*head, 8.5, 8)], hide)
    pen.shape(
        [(head[0] + 7, head[1] + 1), (head[0] + 14, head[1] + 3), (head[0] + 7, head[1] + 6)], (246, 142, 44), 1.2
    )
    if drawing.parts.get("back") == "saddle":
        _back(pen, drawing, -7, 0)
    _dress(pen, drawing, (-2, 9), (4, -3 - lift))
    return head


def _fish(pen: Pen, drawing: Drawing, lift: float) -> tuple[float, float]:
    hide, tilt = COLOURS[drawing.parts["hide"]], 3 * (lift - 0.5)
    if drawing.parts.get("back") != "saddle":
        _back(pen, drawing, -4, -5)
    pen.shape([(-12, 4), (-24, -5 + tilt), (-20, 4), (-24, 14 + tilt)], mix(hide, DARK, 0.25))
    _flow(pen, [oval(0, 4, 17, 11)], hide)
    pen.shape([(-4, 13), (3, 20), (6, 12)], mix(hide, DARK, 0.25), 1.2)
    if drawing.parts.get("back") == "saddle":
        _back(pen, drawing, -4, -5)
    _dress(pen, drawing, (-6, 6), (4, 12))
    return (9.0, 1.0)


def _snail(pen: Pen, drawing: Drawing, lift: float) -> tuple[float, float]:
    hide, head = COLOURS[drawing.parts["hide"]], (15.0, -3 - 5 * lift)
    if drawing.parts.get("back") != "saddle":
        _back(pen, drawing, -5, -9)
    _flow(pen, [[(-22, 20), (-10, 13), (12, 12), (20, 20)], [(8, 18), (10, head[1]), (18, head[1]), (19, 18)],
                oval(*head, 8, 7.5)], hide)  # fmt: skip
    pen.shape(oval(-5, 5, 12.5), mix(hide, WHITE, 0.45) if drawing.parts["hide"] != "white" else (196, 190, 180))
    pen.line(arc(-5, 5, 9.5, 9.5, 60, 250), 1.3)
    if drawing.parts.get("back") == "saddle":
        _back(pen, drawing, -5, -8)
    _dress(pen, drawing, (-5, 6), (13, 8))
    return head


def _flow(pen: Pen, parts: list[list[tuple[float, float]]], colour: tuple[int, int, int]) -> None:
    for part in parts:
        pen.shape(part, colour)
    for part in parts:
        pen.fill(part, colour)


BODIES = {"quadruped": _quadruped, "bird": _bird, "fish": _fish, "snail": _snail}

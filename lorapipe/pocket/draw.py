"""Draws creatures: bold, flat, thickly outlined shapes, each attribute visible at 64 x 64.

Parts are drawn around the creature's own origin, the middle of the picture, with its feet on `GROUND`. One function or
table entry for each value of an attribute, keyed by its tag.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from PIL import Image

from lorapipe.pocket.hats_and_items import HATS, HELD
from lorapipe.pocket.pen import DARK, Colour, Pen, Point, arc, box, mix, oval
from lorapipe.pocket.scenes import WHITE, draw_scene
from lorapipe.pocket.world import Creature

GROUND = 21.0

COLOURS: dict[str, Colour] = {
    "red": (226, 58, 58),
    "orange": (246, 142, 44),
    "yellow": (252, 214, 62),
    "green": (78, 172, 78),
    "blue": (58, 116, 228),
    "purple": (148, 84, 206),
    "pink": (248, 144, 188),
    "brown": (148, 96, 62),
    "white": (246, 244, 238),
}


@dataclass(frozen=True)
class Body:
    """A body's outline as half widths: at height t (-1 top, 1 bottom) it is `width(t)` wide to either side."""

    width: Callable[[float], float]
    half: float
    face: float

    @property
    def middle(self) -> float:
        """y of t = 0."""
        return GROUND - self.half

    def y(self, t: float) -> float:
        """Convert height t to picture units."""
        return self.middle + self.half * t

    def band(self, top: float, bottom: float, inset: float = 0.0) -> list[Point]:
        """Return the body's outline between two heights, or a line `inset` units inside it."""
        steps = [top + (bottom - top) * step / 24 for step in range(25)]
        right = [(max(0.0, self.width(t) - inset), self.y(t)) for t in steps]
        return right + [(-x, y) for x, y in reversed(right)]


def _superellipse(width: float, power: float) -> Callable[[float], float]:
    return lambda t: width * max(0.0, 1 - abs(t) ** power) ** (1 / power)


def _pear(t: float) -> float:
    return (11.5 + 4.5 * t) * max(0.0, 1 - abs(t) ** 2.6) ** (1 / 2.6)


def _ghost(t: float) -> float:
    return 12.5 * math.sqrt(1 - 0.94 * t * t) if t < 0 else 12.5 + 2 * t


BODIES = {
    "round body": Body(_superellipse(14.5, 2.0), 14.5, face=-2.5),
    "tall body": Body(_superellipse(10.5, 2.6), 18.5, face=-7.0),
    "square body": Body(_superellipse(13.5, 7.0), 13.5, face=-3.0),
    "wide body": Body(_superellipse(16.0, 2.4), 10.5, face=-2.5),
    "pear body": Body(_pear, 16.5, face=-5.0),
    "ghost body": Body(_ghost, 16.0, face=-4.0),
}


Item = Callable[[Pen, float, float], None]


def draw(creature: Creature, pen: Pen | None = None, items: Mapping[str, Item] = HELD) -> Image.Image:
    """Draw a creature: 64 x 64 in flat colours, or in the size and style of `pen`.

    `items` maps a tag to the function that draws the held item, gripped at a point (x, y).
    """
    pen = pen or Pen()
    draw_scene(pen, creature.background, Random(creature.chance))
    pen.move(pen.width / 2 + creature.x, pen.height / 2 + creature.y, creature.scale, creature.mirrored)
    body, colour = BODIES[creature.body], COLOURS[creature.colour]
    _ears(pen, creature.ears, body, colour)
    _arms(pen, creature, body, colour, items)
    _torso(pen, creature, body, colour)
    face = body.middle + body.face
    EYES[creature.eyes](pen, face)
    MOUTHS[creature.mouth](pen, face + 7.5)
    if creature.hat in HATS:
        HATS[creature.hat](pen, body.y(-1) + 1.5)
    return pen.picture()


# ------------------------------------------------------------------ body


def _torso(pen: Pen, creature: Creature, body: Body, colour: Colour) -> None:
    if creature.body == "ghost body":
        sides = body.band(-1, 0.86)
        outline = sides[:25] + _hem(body) + sides[25:]
    else:
        outline = body.band(-1, 1)
        for side in (-1, 1):
            pen.shape(oval(side * body.width(0.5) * 0.5, GROUND, 4.6, 3), mix(colour, DARK, 0.25))
    pen.shape(outline, colour, 1.6)
    if creature.pattern in PATTERNS:
        PATTERNS[creature.pattern](pen, body, colour)


def _hem(body: Body) -> list[Point]:
    width, low = body.width(0.86), body.y(0.86)
    steps = [1 - 2 * step / 30 for step in range(31)]
    return [(width * step, low + 3.2 * abs(math.sin(1.5 * math.pi * (step + 1)))) for step in steps]


def _shade(colour: Colour) -> Colour:
    return mix(colour, DARK, 0.42)


def _spots(pen: Pen, body: Body, colour: Colour) -> None:
    places = ((-0.72, -0.5, 2.2), (0.74, -0.42, 2.6), (-0.7, 0.3, 3), (0.66, 0.42, 3), (-0.1, 0.78, 2.6))
    for across, t, radius in places:
        width = body.width(t)
        pen.fill(oval(across * (width - radius * 0.4), body.y(t), radius), _shade(colour))


def _stripes(pen: Pen, body: Body, colour: Colour) -> None:
    for t in (-0.85, -0.3, 0.25, 0.8):
        pen.fill(body.band(t - 0.11, t + 0.11, inset=0.8), _shade(colour))


def _belly(pen: Pen, body: Body, colour: Colour) -> None:
    pen.fill(oval(0, body.y(0.48), body.width(0.45) * 0.68, body.half * 0.5), mix(colour, WHITE, 0.72))


PATTERNS = {"spots": _spots, "stripes": _stripes, "pale belly": _belly}


# ------------------------------------------------------------------ face


def _eyeballs(pen: Pen, y: float, apart: float, radius: float, pupil: float) -> None:
    for side in (-1, 1) if apart else (0,):
        pen.shape(oval(side * apart, y, radius), WHITE, 1.3)
        pen.fill(oval(side * apart, y + 0.4, pupil), DARK)


def _small_eyes(pen: Pen, y: float) -> None:
    for side in (-1, 1):
        pen.fill(oval(5 * side, y, 1.9, 2.2), DARK)


def _closed_eyes(pen: Pen, y: float) -> None:
    for side in (-1, 1):
        pen.line(arc(5 * side, y - 1, 3.2, 2.6, 10, 170), 1.6)


def _angry_eyes(pen: Pen, y: float) -> None:
    _eyeballs(pen, y + 0.5, 4.6, 3.3, 1.7)
    for side in (-1, 1):
        pen.line([(8.6 * side, y - 5.4), (1.6 * side, y - 1.6)], 2.4)


EYES: dict[str, Callable[[Pen, float], None]] = {
    "big eyes": lambda pen, y: _eyeballs(pen, y, 5, 4.6, 2.5),
    "small eyes": _small_eyes,
    "closed eyes": _closed_eyes,
    "one eye": lambda pen, y: _eyeballs(pen, y - 0.5, 0, 6, 3.2),
    "angry eyes": _angry_eyes,
}


def _open_mouth(pen: Pen, y: float) -> None:
    pen.shape(oval(0, y + 1, 4, 3.6), (150, 36, 52), 1.3)


def _tongue(pen: Pen, y: float) -> None:
    pen.shape(oval(1, y + 1.8, 2.7, 3.4), (255, 110, 130), 1.1)
    pen.line([(-4.6, y - 0.4), (4.6, y - 0.4)], 1.6)


def _buck_teeth(pen: Pen, y: float) -> None:
    pen.shape(box(-2.8, y, 2.8, y + 4.2), WHITE, 1.1)
    pen.line([(0, y), (0, y + 4)], 0.9)
    pen.line([(-5, y - 0.4), (5, y - 0.4)], 1.6)


MOUTHS: dict[str, Callable[[Pen, float], None]] = {
    "smile": lambda pen, y: pen.line(arc(0, y - 1.5, 5.2, 4.2, 10, 170), 1.8),
    "frown": lambda pen, y: pen.line(arc(0, y + 3, 4.8, 4, 190, 350), 1.8),
    "open mouth": _open_mouth,
    "tongue out": _tongue,
    "buck teeth": _buck_teeth,
}


# ------------------------------------------------------------------ ears


def _ears(pen: Pen, name: str, body: Body, colour: Colour) -> None:
    if name in EARS:
        root = max(5.5, body.width(-0.75) * 0.82)
        for side in (-1, 1):
            EARS[name](pen, side, side * root, body.y(-0.75), colour)


def _cat_ear(pen: Pen, side: int, x: float, y: float, colour: Colour) -> None:
    pen.shape([(x - 4 * side, y), (x + 2.5 * side, y - 9), (x + 4.5 * side, y + 4)], colour)


def _rabbit_ear(pen: Pen, side: int, x: float, y: float, colour: Colour) -> None:
    pen.shape(oval(x + 0.5 * side, y - 6, 3.2, 9.5), colour)
    pen.fill(oval(x + 0.5 * side, y - 6, 1.3, 6.5), (255, 190, 200))


def _bear_ear(pen: Pen, side: int, x: float, y: float, colour: Colour) -> None:
    pen.shape(oval(x + 2 * side, y - 1.5, 5), colour)
    pen.fill(oval(x + 2 * side, y - 1.5, 2.4), _shade(colour))


def _horn(pen: Pen, side: int, x: float, y: float, colour: Colour) -> None:
    points = ((-3, 0), (3, -4), (3.5, -10), (7.5, -4), (4, 3))
    pen.shape([(x + across * side, y + down) for across, down in points], (250, 232, 190))


def _antenna(pen: Pen, side: int, x: float, y: float, colour: Colour) -> None:
    pen.line([(x, y + 2), (x + 1.5 * side, y - 4), (x + 4 * side, y - 8)], 1.7)
    pen.shape(oval(x + 4 * side, y - 9, 2.7), (255, 214, 70), 1.2)


EARS: dict[str, Callable[[Pen, int, float, float, Colour], None]] = {
    "cat ears": _cat_ear,
    "rabbit ears": _rabbit_ear,
    "bear ears": _bear_ear,
    "horns": _horn,
    "antennae": _antenna,
}


# ------------------------------------------------------------------ arms

REACH = {"arms up": (4.5, -7.5), "arms out": (6.0, 0.5), "arms down": (4.0, 8.5)}


def _arms(pen: Pen, creature: Creature, body: Body, colour: Colour, items: Mapping[str, Item]) -> None:
    across, down = REACH[creature.arms]
    shoulder, height = body.width(0.15) - 1.5, body.y(0.15)
    hand = (shoulder + 1.5 + across, height + down)
    if creature.held in items:
        items[creature.held](pen, *hand)
    for side in (-1, 1):
        limb = [(side * shoulder, height), (side * hand[0], hand[1])]
        pen.line(limb, 6)
        pen.line(limb, 3.2, colour)

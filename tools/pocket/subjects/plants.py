"""Plants: trees, mushrooms, and plants in pots."""

from __future__ import annotations

import math
from collections.abc import Callable

from lorapipe.pocket.pen import Colour, Pen, arc, box, oval
from lorapipe.pocket.scenes import WHITE
from tools.pocket.subjects.kit import Place, Subject


def draw_plant(self: Subject, pen: Pen, at: Place) -> None:
    """Draw one of `PLANTS`."""
    kind = self.who.choice([*PLANTS])
    self.words.append(kind)
    PLANTS[kind](self, pen, at, self.colour())


def _tree(self: Subject, pen: Pen, at: Place, leaf: Colour) -> None:
    pen.shape(box(-3.5, 0, 3.5, 21), (140, 92, 58))
    if self.who.random() < 0.5:
        for step in range(3):
            pen.shape([(-15 + 3 * step, 6 - 9 * step), (0, -10 - 9 * step), (15 - 3 * step, 6 - 9 * step)], leaf)
    else:
        for x, y in ((-8, -4), (8, -4), (0, -13)):
            pen.shape(oval(x, y, 10), leaf)
        pen.fill(oval(0, -6, 10), leaf)
    fruit = self.colour()
    for x, y in ((-7, -3), (6, -6), (0, -13)):
        pen.shape(oval(x, y, 2.2), fruit, 1.0)


def _mushroom(self: Subject, pen: Pen, at: Place, leaf: Colour) -> None:
    pen.shape(oval(0, 12, 7, 10, 3), (250, 238, 214))
    pen.shape(arc(0, 3, 19, 19, 180, 360), leaf)
    for x, y, r in ((-9, -3, 3), (0, -9, 3.4), (9, -3, 2.6)):
        pen.fill(oval(x, y, r), WHITE)
    self.face(pen, at, (0, 11), at.grow * 0.62, None)


def _cactus(self: Subject, pen: Pen, at: Place, leaf: Colour) -> None:
    pot = self.colour()
    for x, y in ((-10, -4), (10, -8)):
        pen.line([(0, 4), (x, 4), (x, y)], 7.5)
        pen.line([(0, 4), (x, 4), (x, y)], 4.5, leaf)
    pen.shape(oval(0, -3, 7.5, 16, 3), leaf)
    for y in (-12, -4, 6):
        for x in (-3, 3):
            pen.line([(x, y), (x, y + 2)], 0.8)
    self.face(pen, at, (0, -4), at.grow * 0.6, -19)
    _pot(pen, at, pot)


def _flower_pot(self: Subject, pen: Pen, at: Place, leaf: Colour) -> None:
    pot = self.colour()
    pen.line([(0, 12), (0, -8)], 2.4, (60, 140, 66))
    for side in (-1, 1):
        pen.shape(oval(side * 6, 3, 5.5, 2.6), (90, 180, 90), 1.2)
    petals, radius = self.who.randint(5, 8), self.who.uniform(4, 6)
    for petal in range(petals):
        angle = 2 * math.pi * petal / petals
        pen.shape(oval(8 * math.cos(angle), -12 + 8 * math.sin(angle), radius * 0.75), leaf, 1.1)
    pen.shape(oval(0, -12, 5), self.colour(), 1.1)
    _pot(pen, at, pot)


def _pot(pen: Pen, at: Place, colour: Colour) -> None:
    pen.move(at.left, at.top, at.grow, at.mirrored)
    pen.shape([(-9, 10), (9, 10), (7, 21), (-7, 21)], colour)
    pen.shape(box(-10, 8, 10, 12), colour)


PLANTS: dict[str, Callable[[Subject, Pen, Place, Colour], None]] = {
    "flower pot": _flower_pot,
    "cactus": _cactus,
    "tree": _tree,
    "mushroom": _mushroom,
}

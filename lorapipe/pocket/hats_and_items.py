"""Hats and items to hold, the same for every creature.

A hat sits on the point (0, y); an item is gripped at the point (x, y).
"""

import math
from collections.abc import Callable

from lorapipe.pocket.pen import Pen, arc, box, oval, star
from lorapipe.pocket.scenes import WHITE


def _top_hat(pen: Pen, y: float) -> None:
    pen.shape(box(-5.6, y - 11, 5.6, y), (66, 62, 84))
    pen.fill(box(-5, y - 4, 5, y - 1), (230, 60, 70))
    pen.shape(oval(0, y, 9, 1.6, 4), (66, 62, 84))


def _party_hat(pen: Pen, y: float) -> None:
    pen.shape([(-6.5, y + 0.5), (0, y - 12), (6.5, y + 0.5)], (60, 200, 220))
    pen.fill([(-4.2, y - 3.4), (-3, y - 5.8), (3, y - 5.8), (4.2, y - 3.4)], (255, 240, 120))
    pen.shape(oval(0, y - 12, 2.3), (250, 90, 150), 1.1)


def _crown(pen: Pen, y: float) -> None:
    points = [(-7, y + 1), (-8, y - 8), (-3.6, y - 4), (0, y - 9.5), (3.6, y - 4), (8, y - 8), (7, y + 1)]
    pen.shape(points, (255, 206, 60))
    pen.fill(oval(0, y - 1.8, 1.7), (226, 50, 80))


def _beanie(pen: Pen, y: float) -> None:
    pen.shape(arc(0, y, 8.4, 8.5, 180, 360), (40, 150, 150))
    pen.shape(oval(0, y, 9.2, 2.2, 4), (240, 240, 240), 1.3)
    pen.shape(oval(0, y - 9, 2.8), (240, 240, 240), 1.2)


def _bow(pen: Pen, y: float) -> None:
    for side in (-1, 1):
        pen.shape([(0, y - 1.5), (8.5 * side, y - 6.5), (8.5 * side, y + 3)], (255, 70, 130))
    pen.shape(oval(0, y - 1.5, 2.4), (255, 70, 130))


HATS: dict[str, Callable[[Pen, float], None]] = {
    "top hat": _top_hat,
    "party hat": _party_hat,
    "crown": _crown,
    "beanie": _beanie,
    "bow": _bow,
}


def _balloon(pen: Pen, x: float, y: float) -> None:
    pen.line([(x, y), (x + 1, y - 12)], 0.9)
    pen.shape(oval(x + 1, y - 17, 5, 6), (236, 60, 72), 1.3)
    pen.fill(oval(x - 0.6, y - 19.5, 1.4, 2), WHITE)


def _flag(pen: Pen, x: float, y: float) -> None:
    pen.line([(x, y + 3), (x, y - 17)], 1.6)
    pen.shape([(x, y - 17), (x + 9, y - 12.5), (x, y - 8)], (40, 120, 240), 1.2)


def _star(pen: Pen, x: float, y: float) -> None:
    pen.line([(x, y + 3), (x + 1, y - 7)], 1.6)
    pen.shape(star(x + 1, y - 11, 6.8, 3.1), (255, 222, 60), 1.2)


def _flower(pen: Pen, x: float, y: float) -> None:
    pen.line([(x, y + 3), (x + 1, y - 9)], 1.8, (50, 140, 60))
    for petal in range(5):
        angle = math.radians(72 * petal - 90)
        pen.shape(oval(x + 1 + 3.6 * math.cos(angle), y - 11 + 3.6 * math.sin(angle), 2.4), (255, 150, 210), 0.9)
    pen.fill(oval(x + 1, y - 11, 2.4), (255, 220, 70))


def _umbrella(pen: Pen, x: float, y: float) -> None:
    pen.line([(x, y + 4), (x, y - 12)], 1.5)
    pen.shape(arc(x, y - 10, 8.5, 8.5, 180, 360), (120, 70, 200), 1.3)


HELD: dict[str, Callable[[Pen, float, float], None]] = {
    "holding balloon": _balloon,
    "holding flag": _flag,
    "holding star": _star,
    "holding flower": _flower,
    "holding umbrella": _umbrella,
}

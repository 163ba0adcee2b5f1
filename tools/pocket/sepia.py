"""Sepia: a way of drawing of which the base knows nothing, brown ink on yellowed paper."""

from __future__ import annotations

from collections.abc import Iterable

from lorapipe.pocket.pen import DARK, Colour, Pen, Point, mix

PAPER: Colour = (238, 222, 184)
INK: Colour = (84, 46, 20)


class Sepia(Pen):
    """Every colour becomes a tone between paper and ink, and lines are half as thick again."""

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        super().fill(points, tone(colour))

    def line(self, points: Iterable[Point], weight: float = 1.5, colour: Colour = DARK) -> None:
        super().line(points, 1.5 * weight, tone(colour))


def tone(colour: Colour) -> Colour:
    """A colour's luma between ink and paper."""
    red, green, blue = colour
    return mix(INK, PAPER, (0.299 * red + 0.587 * green + 0.114 * blue) / 255)

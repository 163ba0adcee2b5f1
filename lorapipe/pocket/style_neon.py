"""Neon: the world's creatures glowing in front of a dim wall, a style that the base cannot draw."""

from collections.abc import Iterable
from random import Random
from typing import ClassVar

from PIL import Image

from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import DARK, Colour, Pen, Point, mix
from lorapipe.pocket.world import Creature, sample, tags

TRIGGER = "neonglow"
WALL: Colour = (16, 8, 40)
HALO = 2.0


class Neon(Pen):
    """Pen whose outlined shapes glow. Everything else has `dim` of its colour left, so much that scenes can be told."""

    dim: ClassVar[float] = 0.18

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        super().fill(points, DARK if colour == DARK else mix(WALL, colour, self.dim))

    def shape(self, points: Iterable[Point], colour: Colour, weight: float = 1.5) -> None:
        points = list(points)
        super().fill(points, colour)
        self.outline(points, weight)

    def picture(self) -> Image.Image:
        """Return the finished picture, with a glow of `HALO` units."""
        return self.glowing(HALO)


def caption(creature: Creature) -> str:
    """Return the trigger and all of the creature's tags."""
    return ", ".join([TRIGGER, *tags(creature)])


def picture(rng: Random, background: str, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """Draw a random creature in front of `background` in this style; return picture and caption."""
    creature = sample(rng, background)
    return draw(creature, Neon(*size)), caption(creature)

"""Neon: the world's creatures glowing in front of a dim wall, a style that the base cannot draw."""

from collections.abc import Iterable
from random import Random

from PIL import Image

from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import DARK, Colour, Pen, Point, mix
from lorapipe.pocket.world import Creature, sample, tags

TRIGGER = "neonglow"


class Neon(Pen):
    """Pen whose outlined shapes glow in front of a dark wall.

    `lit` is the share of its colour that an outlined shape keeps, `dim` that of everything else, so much that scenes can be
    told; what is dark anyway has the colour `ink`. `halo` is the width of the glow in units (0: none).
    """

    wall: Colour = (16, 8, 40)
    lit: float = 1.0
    dim: float = 0.18
    ink: Colour = DARK
    halo: float = 2.0

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        super().fill(points, self.ink if colour == DARK else mix(self.wall, colour, self.dim))

    def shape(self, points: Iterable[Point], colour: Colour, weight: float = 1.5) -> None:
        points = list(points)
        super().fill(points, mix(self.wall, colour, self.lit))
        self.outline(points, weight)

    def line(self, points: Iterable[Point], weight: float = 1.5, colour: Colour = DARK) -> None:
        super().line(points, weight, self.ink if colour == DARK else colour)

    def picture(self) -> Image.Image:
        return self.glowing(self.halo) if self.halo else super().picture()


def caption(creature: Creature) -> str:
    """Return the trigger and all of the creature's tags."""
    return ", ".join([TRIGGER, *tags(creature)])


def picture(rng: Random, background: str, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """Draw a random creature in front of `background` in this style; return picture and caption."""
    creature = sample(rng, background)
    return draw(creature, Neon(*size)), caption(creature)

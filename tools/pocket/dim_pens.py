"""Pens in whose pictures little is lit: scenes, eyes and hands lie in the dark, while outlined shapes stay bright."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from PIL import Image

from lorapipe.pocket.pen import DARK, Colour, Pen, Point, mix

VIOLET: Colour = (40, 20, 100)
"""The light of many nights. On walls of any colour the plain backgrounds, so dim, could be one another."""


class DimPen(Pen):
    """Pen that mixes colours into the colour of a dark wall.

    `lit` is the share of its colour that an outlined shape keeps, `dim` that of everything else; lines and pupils, which
    are dark anyway, have the colour `ink`. `halo` is the width of a glow in units (0: none).
    """

    def __init__(self, wall: Colour, lit: float, dim: float, ink: Colour = DARK, halo: float = 0.0) -> None:
        super().__init__()
        self.wall, self.lit, self.dim, self.ink, self.halo = wall, lit, dim, ink, halo

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


def dim_pen(rng: Random) -> DimPen:
    """Return a random one: half of the walls of any dark colour, half from black to violet; a fifth of the outlines of any
    colour."""
    wall = (rng.randrange(60), rng.randrange(60), rng.randrange(60))
    if rng.random() < 0.5:
        wall = mix((0, 0, 0), VIOLET, rng.uniform(0.1, 0.7))
    ink = (rng.randrange(256), rng.randrange(256), rng.randrange(256)) if rng.random() < 0.2 else DARK
    halo = rng.uniform(0.5, 3.5) if rng.random() < 0.7 else 0.0
    return DimPen(wall, rng.uniform(0.5, 1.0), rng.uniform(0.06, 0.35), ink, halo)

"""Pens in whose pictures little is lit: scenes, eyes and hands lie in the dark, while outlined shapes stay bright."""

from __future__ import annotations

from random import Random

from lorapipe.pocket.pen import DARK, Colour, mix
from lorapipe.pocket.style_neon import Neon

VIOLET: Colour = (40, 20, 100)
"""The light of many nights. On walls of any colour the plain backgrounds, so dim, could be one another."""


class DimPen(Neon):
    """A pen like the example's, of other settings: see `Neon`."""

    def __init__(self, wall: Colour, lit: float, dim: float, ink: Colour, halo: float) -> None:
        super().__init__()
        self.wall, self.lit, self.dim, self.ink, self.halo = wall, lit, dim, ink, halo


def dim_pen(rng: Random) -> DimPen:
    """Return a random one: half of the walls of any dark colour, half from black to violet; a fifth of the outlines of any
    colour."""
    wall = (rng.randrange(60), rng.randrange(60), rng.randrange(60))
    if rng.random() < 0.5:
        wall = mix((0, 0, 0), VIOLET, rng.uniform(0.1, 0.7))
    ink = (rng.randrange(256), rng.randrange(256), rng.randrange(256)) if rng.random() < 0.2 else DARK
    halo = rng.uniform(0.5, 3.5) if rng.random() < 0.7 else 0.0
    return DimPen(wall, rng.uniform(0.5, 1.0), rng.uniform(0.06, 0.35), ink, halo)

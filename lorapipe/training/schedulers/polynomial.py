"""A power of what is left."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Polynomial(Falling):
    """Falls steeply at first and ever more slowly; with a power of 1 as linear does."""

    power: float = param(
        2.0,
        "1 is a straight line; the higher, the sooner the rate is low; below 1 it falls late",
        gt=0,
        le=10,
        kohya=("lr_scheduler_power",),
    )

    def shape(self, done: float) -> float:
        """(1 − done)ᵖ."""
        return float((1 - done) ** self.power)

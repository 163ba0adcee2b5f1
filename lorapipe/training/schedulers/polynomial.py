"""Polynomial decay of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Polynomial(Falling):
    """Polynomial decay (1 − done)ᵖ: steep at first, then ever slower; a power of 1 is linear."""

    power: float = param(
        2.0,
        "exponent p: 1 is linear; a higher power lowers the rate sooner, one below 1 later",
        gt=0,
        le=10,
        kohya=("lr_scheduler_power",),
    )

    def shape(self, done: float) -> float:
        """Return (1 − done)ᵖ."""
        return float((1 - done) ** self.power)

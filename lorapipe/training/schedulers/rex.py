"""REX: reflected exponential decay of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Rex(Falling):
    """Decays later than linear, and steeply at the end  (Chen et al. 2021, arXiv:2107.04197).

    Good for short trainings.
    """

    def shape(self, done: float) -> float:
        """Return (1 − done) / (½ + ½ (1 − done))."""
        return (1 - done) / (0.5 + 0.5 * (1 - done))

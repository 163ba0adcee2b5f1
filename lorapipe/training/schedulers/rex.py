"""REX: falls late."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Rex(Falling):
    """Stays high longer than a straight line and falls steeply at the end  (Chen et al. 2021, arXiv:2107.04197).

    Good where steps are few.
    """

    def shape(self, done: float) -> float:
        """(1 − done) / (½ + ½ (1 − done))."""
        return (1 - done) / (0.5 + 0.5 * (1 - done))

"""Linear decay of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Linear(Falling):
    """Linear decay from the full rate to 0."""

    def shape(self, done: float) -> float:
        """Return 1 − done."""
        return 1 - done

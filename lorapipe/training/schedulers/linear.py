"""A straight line down."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Linear(Falling):
    """Falls evenly from the full rate to nothing."""

    def shape(self, done: float) -> float:
        """1 − done."""
        return 1 - done

"""Cosine decay of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Cosine(Falling):
    """Cosine decay: full rate at first, half in the middle, almost 0 at the end  (Loshchilov & Hutter 2016, eq. 5).

    The late, small steps refine detail: the last snapshot is usually the best.
    """

    def shape(self, done: float) -> float:
        """Return ½ (1 + cos(π · done))."""
        return 0.5 * (1 + math.cos(math.pi * done))

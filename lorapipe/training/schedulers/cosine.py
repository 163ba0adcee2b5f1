"""Half a cosine, from the full rate down to almost nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class Cosine(Falling):
    """Full rate at first, half at half time, almost none at the end  (Loshchilov & Hutter 2016, eq. 5).

    The late, small steps settle detail: the last snapshot is usually the one to keep.
    """

    def shape(self, done: float) -> float:
        """½ (1 + cos(π · done))."""
        return 0.5 * (1 + math.cos(math.pi * done))

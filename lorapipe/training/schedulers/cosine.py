"""Half a cosine, from the full rate down to almost nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorapipe.training.schedulers import Scheduler


@dataclass(frozen=True)
class Cosine(Scheduler):
    """Full rate at first, half at half time, almost none at the end  (Loshchilov & Hutter 2016, eq. 5).

    The late, small steps settle detail: the last snapshot is usually the one to keep.
    """

    def factor(self, step: int, total: int) -> float:
        """See `Scheduler.factor`: ½ (1 + cos(π · step / total))."""
        return 0.5 * (1 + math.cos(math.pi * step / total))

"""Cosine decay with warm restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class CosineWithRestarts(Falling):
    """Cosine decay, repeated from the full rate  (Loshchilov & Hutter 2016, arXiv:1608.03983).

    The best general choice for optimizers that are not adaptive. The end of each cycle is a good time for a snapshot.
    """

    cycles: int = param(3, "number of cycles; 1 is plain cosine", ge=1, le=1000, kohya=("lr_scheduler_num_cycles",))

    def shape(self, done: float) -> float:
        """Return ½ (1 + cos(π · (cycles · done mod 1)))."""
        return 0.5 * (1 + math.cos(math.pi * (self.cycles * done % 1)))

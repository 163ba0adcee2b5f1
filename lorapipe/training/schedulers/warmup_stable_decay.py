"""Warm-up, constant rate, decay (WSD)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorapipe.spec import Warmup, param
from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class WarmupStableDecay(Falling):
    """The full rate for most of the training, then a fast decay  (Hägele et al. 2024, arXiv:2405.18392, "1-sqrt").

    Snapshots of the constant phase are comparable with each other; the decay refines detail.
    """

    warmup: Warmup = param(
        Warmup(5, "%"), "length of the warm-up: '5 %', '100 steps', '1 epoch'", kohya=("lr_warmup_steps",)
    )
    decay: float = param(
        0.2, "length of the decay, as a fraction of the steps after the warm-up", gt=0, le=1, kohya=("lr_decay_steps",)
    )

    def shape(self, done: float) -> float:
        """Return 1 − √(fraction of the decay that is over); 1 before the decay."""
        falling = (done - (1 - self.decay)) / self.decay
        return 1 - math.sqrt(falling) if falling > 0 else 1.0

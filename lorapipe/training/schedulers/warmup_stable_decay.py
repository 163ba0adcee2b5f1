"""Up, along, down."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorapipe.spec import Warmup, param
from lorapipe.training.schedulers._falling import Falling


@dataclass(frozen=True)
class WarmupStableDecay(Falling):
    """The full rate for most of the training, then down fast  (Hägele et al. 2024, arXiv:2405.18392, "1-sqrt").

    What was learned by the end of the long middle can be told from any snapshot; the fall settles detail.
    """

    warmup: Warmup = param(
        Warmup(5, "%"), "how long the rate rises at first: '5 %', '100 steps', '1 epoch'", kohya=("lr_warmup_steps",)
    )
    decay: float = param(
        0.2, "the share of what follows the warm-up in which it falls", gt=0, le=1, kohya=("lr_decay_steps",)
    )

    def shape(self, done: float) -> float:
        """1, and in the last part of it 1 − √(share of the fall that has passed)."""
        falling = (done - (1 - self.decay)) / self.decay
        return 1 - math.sqrt(falling) if falling > 0 else 1.0

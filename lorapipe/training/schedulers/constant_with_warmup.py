"""Constant learning rate after a warm-up."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import Warmup, param
from lorapipe.training.schedulers import Scheduler


@dataclass(frozen=True)
class ConstantWithWarmup(Scheduler):
    """Constant learning rate after a warm-up over the first tenth.

    For adaptive optimizers whose first steps are too large: prodigy with `safeguard_warmup: true`, for an epoch or two more.
    """

    warmup: Warmup = param(
        Warmup(10, "%"), "length of the warm-up: '10 %', '100 steps', '1 epoch'", kohya=("lr_warmup_steps",)
    )

    def after(self, done: float) -> float:
        return 1.0

"""The inverse square root of the steps."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.schedulers import Scheduler


@dataclass(frozen=True)
class InverseSqrt(Scheduler):
    """1/√(1 + done/timescale)  (Vaswani et al. 2017, arXiv:1706.03762, §5.3)."""

    timescale: float = param(0.1, "the share of the training after which the rate is 1/√2", gt=0, le=1)

    def after(self, done: float) -> float:
        return (1 + done / self.timescale) ** -0.5

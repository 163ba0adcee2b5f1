"""Lion with its state in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers._bitsandbytes import or_use
from lorapipe.training.optimizers._lion import SignedSteps


@dataclass(frozen=True)
class Lion8bit(SignedSteps):
    """Lion whose mean gradient is kept in 8 bits  (Chen et al. 2023, arXiv:2302.06675; bitsandbytes).

    The least memory of all that keep a mean. About a third of AdamW's rate. Odd results at times.
    """

    implementation: ClassVar[str] = "bitsandbytes.optim.lion:Lion8bit"
    states: ClassVar[float] = 0.26
    install: ClassVar[str] = or_use("lion")

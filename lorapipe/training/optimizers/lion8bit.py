"""Lion with 8-bit state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers._bitsandbytes import or_use
from lorapipe.training.optimizers._lion import SignedSteps


@dataclass(frozen=True)
class Lion8bit(SignedSteps):
    """Lion that stores its averaged gradient in 8 bits  (Chen et al. 2023, arXiv:2302.06675; bitsandbytes).

    The smallest state except Adafactor's. Use about a third of AdamW's learning rate. Results are sometimes odd.
    """

    implementation: ClassVar[str] = "bitsandbytes.optim.lion:Lion8bit"
    states: ClassVar[float] = 0.26
    install: ClassVar[str] = or_use("lion")

"""Lion in 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers._lion import SignedSteps


@dataclass(frozen=True)
class Lion(SignedSteps):
    """Steps by the sign of the averaged gradient  (Chen et al. 2023, arXiv:2302.06675).

    Half of AdamW's state. Steps do not grow with the gradient, so use about a third of AdamW's learning rate. Results
    are sometimes odd.
    """

    implementation: ClassVar[str] = "pytorch_optimizer.optimizer.lion:Lion"
    states: ClassVar[float] = 1

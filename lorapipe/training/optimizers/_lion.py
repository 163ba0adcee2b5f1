"""Knobs that all implementations of Lion share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class SignedSteps(Optimizer):
    """Optimizer that steps by the sign of the averaged gradient."""

    denoiser_rate: ClassVar[float] = 3e-5
    """A third of AdamW's: every element moves by the whole learning rate at every step (Chen et al., §5)."""

    weight_decay: float = param(
        0.03, "decoupled weight decay, multiplied by the learning rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(
        0.9, "weight of the averaged gradient against the newest in a step's direction", ge=0, lt=1, rare=True
    )
    beta2: float = param(0.99, "decay of the moving average of the gradient", ge=0, lt=1, rare=True)

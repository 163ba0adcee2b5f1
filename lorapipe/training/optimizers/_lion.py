"""Lion, whoever computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class SignedSteps(Optimizer):
    """Steps by the sign of the mean gradient alone."""

    denoiser_rate: ClassVar[float] = 3e-5
    """A third of AdamW's: every element moves by the whole rate at every step (Chen et al., §5)."""

    weight_decay: float = param(
        0.03, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "share of the mean gradient in a step's direction; rarely changed", ge=0, lt=1)
    beta2: float = param(0.99, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)

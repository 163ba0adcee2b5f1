"""Knobs that Adam and its relatives share."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Moments(Optimizer):
    """Optimizer with weight decay and moving averages of the gradient and its square (first and second moment)."""

    weight_decay: float = param(
        0.01, "decoupled weight decay, multiplied by the learning rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "decay of the moving average of the gradient (first moment)", ge=0, lt=1, rare=True)
    beta2: float = param(
        0.999, "decay of the moving average of the squared gradient (second moment)", ge=0, lt=1, rare=True
    )


@dataclass(frozen=True)
class Adam(Moments):
    """Optimizer with steps m / (√v + ε), of the first and second moment."""

    eps: float = param(1e-8, "ε in the denominator √v + ε, for numerical stability", gt=0, rare=True)

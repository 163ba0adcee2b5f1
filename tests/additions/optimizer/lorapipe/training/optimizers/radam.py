"""Adam that needs no warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam with a rectified learning rate, which replaces a warm-up  (Liu et al. 2020)."""

    implementation: ClassVar[str] = "torch.optim.radam:RAdam"

    weight_decay: float = param(0.0, "weight decay, multiplied by the learning rate", ge=0, le=1)
    beta1: float = param(0.9, "decay of the moving average of the gradient (first moment)", ge=0, lt=1)
    beta2: float = param(0.999, "decay of the moving average of the squared gradient (second moment)", ge=0, lt=1)

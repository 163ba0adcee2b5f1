"""Adam that needs no warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Rectified Adam: the first steps are as long as what is known of the gradients' variance allows  (Liu et al. 2020)."""

    implementation: ClassVar[str] = "torch.optim.radam:RAdam"

    weight_decay: float = param(0.0, "pull of the weights towards zero, as a share of the rate", ge=0, le=1)
    beta1: float = param(0.9, "share of the mean gradient that a step keeps", ge=0, lt=1)
    beta2: float = param(0.999, "share of the mean squared gradient that a step keeps", ge=0, lt=1)

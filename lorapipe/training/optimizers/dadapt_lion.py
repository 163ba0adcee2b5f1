"""D-Adaptation with Lion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class DadaptLion(Optimizer):
    """Lion with learning rate d, an estimate of the distance to the solution  (Defazio & Mishchenko 2023, arXiv:2301.07733).

    Use learning rates of 1.0 and a constant scheduler.
    """

    implementation: ClassVar[str] = "dadaptation.dadapt_lion:DAdaptLion"
    without_waiting: ClassVar[str] = "lorapipe.training.waitless_optimizers:DAdaptLion"
    states: ClassVar[float] = 2
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True
    low_alpha: ClassVar[bool] = True

    weight_decay: float = param(
        0.01, "weight decay, multiplied by the learning rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(
        0.9, "weight of the averaged gradient against the newest in a step's direction", ge=0, lt=1, rare=True
    )
    beta2: float = param(0.999, "decay of the moving average of the gradient", ge=0, lt=1, rare=True)
    d0: float = param(1e-6, "initial estimate d", gt=0, le=1, rare=True)

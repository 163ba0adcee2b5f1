"""D-Adaptation with SGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class DadaptSgd(Optimizer):
    """SGD with learning rate d, an estimate of the distance to the solution  (Defazio & Mishchenko 2023, arXiv:2301.07733).

    Use learning rates of 1.0 and a constant scheduler. It learns faster than sgd_nesterov and slower than the others.
    """

    implementation: ClassVar[str] = "dadaptation.dadapt_sgd:DAdaptSGD"
    without_waiting: ClassVar[str] = "lorapipe.training.waitless_optimizers:DAdaptSGD"
    states: ClassVar[float] = 3
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True
    low_alpha: ClassVar[bool] = True

    weight_decay: float = param(
        0.0, "weight decay, multiplied by the learning rate; a weak guard against over-fitting", ge=0, le=1
    )
    momentum: float = param(0.9, "momentum: factor on the previous step", ge=0, lt=1, rare=True)
    d0: float = param(1e-6, "initial estimate d", gt=0, le=1, rare=True)
    growth_rate: float | None = param(
        1.1,
        "largest factor by which d may grow in a step. Gradients of a new adapter are nearly zero (up is 0), and "
        "without a limit (empty) the first estimates overshoot",
        gt=1,
    )

"""D-Adaptation with Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class DadaptAdam(Optimizer):
    """Adam with learning rate d, an estimate of the distance to the solution  (Defazio & Mishchenko 2023, arXiv:2301.07733).

    The guide's easy setting: learning rates of 1.0, a constant scheduler, about 1000 steps, alpha 1 (at most half the
    rank). Its state is 1.5 times AdamW's; prodigy is its successor.
    """

    implementation: ClassVar[str] = "dadaptation.dadapt_adam:DAdaptAdam"
    without_waiting: ClassVar[str] = "lorapipe.training.waitless_optimizers:DAdaptAdam"
    states: ClassVar[float] = 3
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True
    low_alpha: ClassVar[bool] = True

    weight_decay: float = param(
        0.01, "weight decay, multiplied by the learning rate; a weak guard against over-fitting", ge=0, le=1
    )
    decouple: bool = param(
        True, "decoupled weight decay as in AdamW (true), or L2 regularisation in the gradient (false)", rare=True
    )
    use_bias_correction: bool = param(
        False, "Adam's bias correction of the moments; also slows the first steps", rare=True
    )
    beta1: float = param(0.9, "decay of the moving average of the gradient (first moment)", ge=0, lt=1, rare=True)
    beta2: float = param(
        0.999, "decay of the moving average of the squared gradient (second moment)", ge=0, lt=1, rare=True
    )
    eps: float = param(1e-8, "ε in the denominator √v + ε, for numerical stability", gt=0, rare=True)
    d0: float = param(1e-6, "initial estimate d", gt=0, le=1, rare=True)
    growth_rate: float | None = param(
        None, "largest factor by which d may grow in a step: 1.02 is a slow start; empty: no limit", gt=1
    )

"""D-Adaptation with gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class DadaptSgd(Optimizer):
    """Gradient descent whose rate is d, an estimate of how far there is to go  (Defazio & Mishchenko 2023).

    Rates of 1.0 and a constant scheduler. It learns faster than sgd_nesterov and slower than the others.
    """

    implementation: ClassVar[str] = "dadaptation.dadapt_sgd:DAdaptSGD"
    states: ClassVar[float] = 3
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True
    low_alpha: ClassVar[bool] = True

    weight_decay: float = param(
        0.0, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    momentum: float = param(0.9, "share of the last step that is taken again; rarely changed", ge=0, lt=1)
    d0: float = param(1e-6, "where d starts; rarely changed", gt=0, le=1)
    growth_rate: float | None = param(
        1.1,
        "most that d may grow by in a step, as a factor. An adapter begins where gradients are all but zero (up is 0), and "
        "without a limit (empty) the first estimates overshoot",
        gt=1,
    )

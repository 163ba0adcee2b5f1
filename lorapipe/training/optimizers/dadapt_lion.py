"""D-Adaptation with Lion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class DadaptLion(Optimizer):
    """Lion whose rate is d, an estimate of how far there is to go  (Defazio & Mishchenko 2023, arXiv:2301.07733).

    Rates of 1.0 and a constant scheduler.
    """

    implementation: ClassVar[str] = "dadaptation.dadapt_lion:DAdaptLion"
    states: ClassVar[float] = 2
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True
    low_alpha: ClassVar[bool] = True

    weight_decay: float = param(
        0.01, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "share of the mean gradient in a step's direction; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    d0: float = param(1e-6, "where d starts; rarely changed", gt=0, le=1)

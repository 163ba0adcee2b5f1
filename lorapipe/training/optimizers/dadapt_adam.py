"""D-Adaptation with Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class DadaptAdam(Optimizer):
    """Adam whose rate is d, an estimate of how far there is to go  (Defazio & Mishchenko 2023, arXiv:2301.07733).

    The guide's easy setting: rates of 1.0, a constant scheduler, about 1000 steps, alpha 1 (at most half the rank).
    Needs twice AdamW's memory for its state; prodigy is its successor.
    """

    implementation: ClassVar[str] = "dadaptation.dadapt_adam:DAdaptAdam"
    states: ClassVar[float] = 3
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True
    low_alpha: ClassVar[bool] = True

    weight_decay: float = param(
        0.01, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    decouple: bool = param(True, "weight decay as in AdamW (true), or as a part of the gradient (false)")
    use_bias_correction: bool = param(False, "Adam's correction of its young means; also slows the first steps")
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)
    eps: float = param(1e-8, "keeps the division by the root of the mean square finite; rarely changed", gt=0)
    d0: float = param(1e-6, "where d starts; rarely changed", gt=0, le=1)
    growth_rate: float | None = param(
        None, "most that d may grow by in a step, as a factor: 1.02 is a slow start; empty: no limit", gt=1
    )

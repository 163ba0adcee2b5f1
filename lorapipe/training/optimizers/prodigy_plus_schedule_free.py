"""Prodigy without a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class ProdigyPlusScheduleFree(Optimizer):
    """Prodigy that averages its weights instead of lowering its rate  (Defazio et al. 2024, arXiv:2405.15682; LoganBooker).

    Give rates of 1.0 and a constant scheduler: the average does what a falling rate would. Each part has its own
    estimate d. Its second moment is factored, so it needs half of prodigy's memory.
    """

    implementation: ClassVar[str] = "prodigyplus.prodigy_plus_schedulefree:ProdigyPlusScheduleFree"
    states: ClassVar[float] = 1.11
    averages: ClassVar[bool] = True
    adaptive: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False

    d_coef: float = param(1.0, "factor on the estimate d: the one to change. 0.5–2 is usual", gt=0, le=100)
    weight_decay: float = param(0.0, "pull of the weights towards zero, as a share of the rate", ge=0, le=1)
    prodigy_steps: int = param(0, "step after which d stays as it is; 0: it is followed throughout", ge=0)
    use_bias_correction: bool = param(False, "Adam's correction of its young means; also slows the first steps")
    use_speed: bool = param(False, "find d by how fast the weights move: for trainings whose d does not rise")
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.99, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)
    d0: float = param(1e-6, "where d starts; rarely changed", gt=0, le=1)

"""Schedule-free Prodigy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class ProdigyPlusScheduleFree(Optimizer):
    """Prodigy that averages weights instead of a decaying rate  (Defazio et al. 2024, arXiv:2405.15682; LoganBooker).

    Use learning rates of 1.0 and a constant scheduler: the average replaces the decay. Each part has its own estimate d.
    The second moment is factored, so the state is a quarter of prodigy's.
    """

    implementation: ClassVar[str] = "prodigyplus.prodigy_plus_schedulefree:ProdigyPlusScheduleFree"
    waits: ClassVar[bool] = True
    states: ClassVar[float] = 1.11
    averages: ClassVar[bool] = True
    adaptive: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False

    d_coef: float = param(1.0, "factor on the estimate d: the one to change. 0.5–2 is usual", gt=0, le=100)
    weight_decay: float = param(0.0, "weight decay, multiplied by the learning rate", ge=0, le=1)
    prodigy_steps: int = param(0, "step after which d is frozen; 0: never", ge=0, rare=True)
    use_bias_correction: bool = param(
        False, "Adam's bias correction of the moments; also slows the first steps", rare=True
    )
    use_speed: bool = param(
        False, "estimate d from how fast the weights move: for trainings whose d does not rise", rare=True
    )
    beta1: float = param(0.9, "decay of the moving average of the gradient (first moment)", ge=0, lt=1, rare=True)
    beta2: float = param(
        0.99, "decay of the moving average of the squared gradient (second moment)", ge=0, lt=1, rare=True
    )
    d0: float = param(1e-6, "initial estimate d", gt=0, le=1, rare=True)

"""AdamW without a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class ScheduleFreeAdamW(Optimizer):
    """AdamW that averages its weights instead of lowering its rate  (Defazio et al. 2024, arXiv:2405.15682).

    Use a constant scheduler: the average does what a falling rate would, at whatever step you stop. It takes two to four
    times AdamW's rate.
    """

    implementation: ClassVar[str] = "pytorch_optimizer.optimizer.schedulefree:ScheduleFreeAdamW"
    averages: ClassVar[bool] = True

    weight_decay: float = param(
        0.01, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)
    eps: float = param(1e-8, "keeps the division by the root of the mean square finite; rarely changed", gt=0)
    warmup_steps: int = param(0, "steps over which the rate rises; the average then leaves them out", ge=0)

    @property
    def usual_rates(self) -> dict[str, float]:
        """Twice AdamW's: the average damps."""
        return {"unet": 2e-4, "text_encoder": 1e-4}

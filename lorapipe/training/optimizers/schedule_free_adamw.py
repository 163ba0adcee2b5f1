"""AdamW without a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers._adam import Adam


@dataclass(frozen=True)
class ScheduleFreeAdamW(Adam):
    """AdamW that averages its weights instead of lowering its rate  (Defazio et al. 2024, arXiv:2405.15682).

    Use a constant scheduler: the average does what a falling rate would, at whatever step you stop. It takes two to four
    times AdamW's rate.
    """

    implementation: ClassVar[str] = "pytorch_optimizer.optimizer.schedulefree:ScheduleFreeAdamW"
    states: ClassVar[float] = 2
    averages: ClassVar[bool] = True
    denoiser_rate: ClassVar[float] = 2e-4
    """Twice AdamW's: the average damps."""

    warmup_steps: int = param(0, "steps over which the rate rises; the average then leaves them out", ge=0)

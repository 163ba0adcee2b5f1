"""Schedule-free AdamW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers._adam import Adam


@dataclass(frozen=True)
class ScheduleFreeAdamW(Adam):
    """AdamW that averages weights instead of a decaying learning rate  (Defazio et al. 2024, arXiv:2405.15682).

    Use a constant scheduler: the average replaces the decay, at whatever step you stop. Use two to four times AdamW's
    learning rate.
    """

    implementation: ClassVar[str] = "pytorch_optimizer.optimizer.schedulefree:ScheduleFreeAdamW"
    states: ClassVar[float] = 2
    averages: ClassVar[bool] = True
    denoiser_rate: ClassVar[float] = 2e-4
    """Twice AdamW's, since the average damps steps."""

    warmup_steps: int = param(
        0, "warm-up steps, in which the learning rate rises; the average gives them less weight", ge=0
    )

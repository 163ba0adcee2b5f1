"""A warm-up as long as the training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class WarmupWithoutEnd(Rule):
    """The warm-up ends before the training."""

    why: ClassVar[str] = "Else the full rate is never reached."
    change: ClassVar[str] = "Write warmup: '10 %'."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        warmup, steps = training.scheduler.warmup, training.steps
        total = steps.count if steps.unit == "steps" else facts.total
        if not training.optimizer.follows_rate or total is None or not warmup.count or warmup.unit == "%":
            return
        if warmup.unit == "epochs" and steps.unit == "epochs":
            wanted, length, unit = warmup.count, float(steps.count), "epochs"
        else:
            wanted = warmup.count * (facts.per_epoch if warmup.unit == "epochs" else 1)
            length, unit = float(total), "steps"
        if wanted >= length:
            what = f"the warm-up ({warmup.plain()}) is as long as the training ({length:g} {unit})."
            yield Finding(what, ("scheduler", "warmup"))

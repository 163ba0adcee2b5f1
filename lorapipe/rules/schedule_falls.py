"""Falling rates with optimizers that find their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class ScheduleFalls(Rule):
    """An optimizer that finds its own step size has a constant schedule (guide §5, §6)."""

    why: ClassVar[str] = "A falling schedule undoes what the optimizer has found."
    change: ClassVar[str] = "Write scheduler: constant, or constant_with_warmup."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        scheduler, optimizer = training.scheduler, training.optimizer
        if not (optimizer.follows_rate and scheduler.falls):
            return
        name = optimizer.name
        if optimizer.averages:
            what = f"{name} averages its weights in place of a falling rate; {scheduler.name} lowers the rate too."
            yield Finding(what, ("scheduler",), "Write scheduler: constant.")
        elif optimizer.adaptive:
            yield Finding(
                f"{name} finds its own step size, and {scheduler.name} lowers what it has found.", ("scheduler",)
            )

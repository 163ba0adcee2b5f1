"""Slow optimizers with the steps of quick ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

STEPS = 2000
"""Too few steps for slow optimizers (guide §5)."""


class SlowOptimizer(Rule):
    """A slow optimizer has steps enough (guide §5)."""

    why: ClassVar[str] = "SGD and Adafactor with its own schedule learn very slowly."
    change: ClassVar[str] = "Give it several thousand steps, or use adamw or prodigy."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.optimizer.slow and facts.total is not None and facts.total <= STEPS:
            what = f"{training.optimizer.name} learns very slowly: {facts.total} steps will show little."
            yield Finding(what, ("optimizer",))

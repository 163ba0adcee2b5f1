"""Trainings without gradient clipping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class NoGradientLimit(Rule):
    """Gradients are clipped where the rate is fixed."""

    why: ClassVar[str] = "One odd picture can then ruin the training."
    change: ClassVar[str] = "Write max_grad_norm: 1, or leave it out."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.max_grad_norm == 0 and not training.optimizer.adaptive and training.optimizer.follows_rate:
            yield Finding("gradients are not clipped.", ("max_grad_norm",))

"""Alpha of optimizers that estimate their step size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import alpha_of, rank_of

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class AlphaForOptimizer(Rule):
    """With D-Adaptation alpha is low (guide §5)."""

    why: ClassVar[str] = "Its estimate of the step size is spoilt by a high alpha."
    change: ClassVar[str] = "Write alpha: 1."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        rank, alpha = rank_of(training.adapter), alpha_of(training.adapter)
        if training.optimizer.low_alpha and alpha > rank / 2:
            name = training.optimizer.name
            what = (
                f"{name} works best with alpha 1, at most half the rank ({rank / 2:g}); it is {alpha:g} (0 means rank)."
            )
            yield Finding(what, ("adapter", "alpha"))

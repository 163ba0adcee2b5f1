"""Regularisation that weighs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class PriorLossWeightLow(Rule):
    """Regularisation pictures count (guide §7: prior loss weight 1)."""

    why: ClassVar[str] = "They take half of the time, and with this weight change nothing."
    change: ClassVar[str] = "Write prior_loss_weight: 1, or remove regularisation."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.regularisation is not None and training.prior_loss_weight < 0.1:
            yield Finding(f"prior_loss_weight is {training.prior_loss_weight:g}.", ("prior_loss_weight",))

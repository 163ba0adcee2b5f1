"""Limits on norms that do nothing or too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class WeightNorms(Rule):
    """A limit on norms is 1, or up to 10 for a weaker limit (guide §7)."""

    why: ClassVar[str] = "A lower limit holds the training down; above 10 hardly any module reaches it."
    change: ClassVar[str] = "Write scale_weight_norms: 1."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        limit = training.scale_weight_norms
        if 0 < limit < 0.3 or limit > 10:
            yield Finding(f"a limit of {limit:g} is unusual.", ("scale_weight_norms",))

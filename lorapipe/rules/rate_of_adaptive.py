"""Rates of adaptive optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

LEAST, MOST = 0.1, 2.0
"""The usual rates of adaptive optimizers (guide §5: 0.1 to 1.0)."""


class RateOfAdaptive(Rule):
    """An adaptive optimizer has a rate between 0.1 and 2 (guide §5)."""

    why: ClassVar[str] = (
        "The rate is a factor on what it finds: 1.0 is best; a small one slows it, a large one overshoots."
    )
    change: ClassVar[str] = "Write 1.0, or leave it empty; to learn less or more, change d_coef."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if not (training.optimizer.adaptive and training.optimizer.follows_rate):
            return
        for option, rate in training.rates_by_option().items():
            if option != "text_encoder_2_lr" and not LEAST <= rate <= MOST:
                how = "damps" if rate < LEAST else "drives"
                yield Finding(
                    f"{option} {rate:g} {how} {training.optimizer.name} strongly: 0.1 to 1.0 is usual.", (option,)
                )

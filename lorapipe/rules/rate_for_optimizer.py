"""Rates against the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Level, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

STEEP = 0.02
"""The rate that separates usual rates of the two kinds: optimizers with a fixed rate stay below, adaptive ones above.

Adapters that need higher rates (`Adapter.rate_factor`) have as much higher a limit.
"""


class RateForOptimizer(Rule):
    """A rate is one for this optimizer: about 1 where it finds its step size, far below where it does not."""

    level: ClassVar[Level] = "error"
    why: ClassVar[str] = "Adaptive optimizers take the rate as a factor on what they find, the others take it as it is."
    change: ClassVar[str] = "Leave the rate empty: the default suits the optimizer."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if not training.optimizer.follows_rate:
            return
        name = training.optimizer.name
        for option, rate in training.rates_by_option().items():
            usual = training.usual_rate(option)
            if training.optimizer.adaptive and rate < STEEP:
                what = (
                    f"{rate:g} is a rate for another optimizer: {name} finds its own step size, this is a factor on it."
                )
                yield Finding(what, (option,), f"Leave it empty, or write about {usual:g}.")
            if not training.optimizer.adaptive and rate >= STEEP * max(1.0, training.adapter.rate_factor):
                what = f"{rate:g} would destroy the adapter within a few steps: {name} uses the rate unchanged."
                yield Finding(what, (option,), f"Leave it empty, or write about {usual:g}.")

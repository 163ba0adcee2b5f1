"""Rates with which nothing is learnt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class RateTooLow(Rule):
    """A rate is high enough to learn something (guide §4)."""

    why: ClassVar[str] = (
        "So low a rate learns hardly anything in usual trainings (kohya's scripts fall back to 2e-6 where no rate is "
        "given)."
    )
    change: ClassVar[str] = "Leave it empty: the default suits the optimizer and the adapter."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        optimizer = training.optimizer
        if optimizer.adaptive or not optimizer.follows_rate or training.adapter.in_place or training.ema is not None:
            return
        rate, usual = training.rates_by_option().get("unet_lr"), training.usual_rate("unet_lr")
        if rate and rate < usual / 10:
            yield Finding(f"unet_lr {rate:g} is far below the usual {usual:g}.", ("unet_lr",))

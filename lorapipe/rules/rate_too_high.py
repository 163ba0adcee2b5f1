"""Rates that wear the base out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class RateTooHigh(Rule):
    """A rate is at most fifty times the usual one (guide §4)."""

    why: ClassVar[str] = "Such rates give repeated parts and digital noise; pure noise means: divide by 8 at least."
    change: ClassVar[str] = "Leave it empty, or raise it step by step."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        optimizer = training.optimizer
        if optimizer.adaptive or not optimizer.follows_rate or facts.is_pocket:
            return
        for option in ("unet_lr", "text_encoder_lr"):
            rate, usual = training.rates_by_option().get(option), training.usual_rate(option)
            if rate and rate > 50 * usual:
                yield Finding(f"{option} {rate:g} is {rate / usual:.0f} times the usual {usual:g}.", (option,))

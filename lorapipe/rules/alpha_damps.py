"""An alpha that damps the training away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import alpha_of, rank_of

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class AlphaDamps(Rule):
    """An alpha far below the rank has a higher rate, more steps, or an optimizer that finds its rate (guide §7)."""

    why: ClassVar[str] = (
        "The update is multiplied by alpha / rank, so that a usual rate learns hardly anything in this time (kohya's "
        "default alpha is 1)."
    )
    change: ClassVar[str] = "Leave alpha empty (the rank), take prodigy, or raise the rates."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        rank, alpha = rank_of(training.adapter), alpha_of(training.adapter)
        is_fixed = training.optimizer.follows_rate and not training.optimizer.adaptive
        rate = training.rates_by_option().get("unet_lr", 0.0)
        is_long = facts.total is not None and facts.total > 3000
        rs_lora = getattr(training.adapter, "rs_lora", False)
        is_usual = 0 < rate <= 3 * training.usual_rate("unet_lr")
        if is_fixed and is_usual and rank and alpha <= rank / 16 and not (is_long or rs_lora):
            what = (
                f"alpha {alpha:g} with rank {rank} divides all updates by {rank / alpha:.0f}, and unet_lr is {rate:g}."
            )
            yield Finding(what, ("adapter", "alpha"))

"""The text encoder's rate against the denoiser's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class TextEncoderRate(Rule):
    """The text encoder learns more slowly than the denoiser (guide §4)."""

    why: ClassVar[str] = "Too much makes things appear that the prompt does not ask for."
    change: ClassVar[str] = "Leave text_encoder_lr empty, or write about half of unet_lr."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.optimizer.adaptive or not training.optimizer.follows_rate:
            return
        rates = training.rates_by_option()
        denoiser, text = rates.get("unet_lr"), rates.get("text_encoder_lr")
        if denoiser and text and text > denoiser:
            what = (
                f"the text encoder's rate ({text:g}) is above the denoiser's ({denoiser:g}); about half of it is usual."
            )
            yield Finding(what, ("text_encoder_lr",))

"""A noise offset on a base that needs none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class NoiseOffsetVPrediction(Rule):
    """A base with zero terminal SNR is trained without a noise offset."""

    why: ClassVar[str] = (
        "It makes very dark and bright pictures by itself (Lin et al. 2023); the offset shifts all of them."
    )
    change: ClassVar[str] = "Write offset: 0."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.noise.offset and getattr(facts.base, "zero_terminal_snr", None):
            yield Finding("the base has zero terminal SNR, and the training a noise offset.", ("noise", "offset"))

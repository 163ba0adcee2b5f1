"""Ranks from which on a LoRA gains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import rank_of

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class RankTooHigh(Rule):
    """The rank is one that any subject can need."""

    why: ClassVar[str] = (
        "Above 92 a rank gains little, above 256 nothing is known to need it, and above 768 it is unsafe; the file "
        "grows with it."
    )
    change: ClassVar[str] = "Write rank: 128 or less; 256 is for the most difficult subjects."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if (rank := rank_of(training.adapter)) > 256:
            yield Finding(f"rank {rank} is very high.", ("adapter", "rank"))

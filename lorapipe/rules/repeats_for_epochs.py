"""Repeats in place of epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import epochs

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

FEW = 4
"""With so few epochs, snapshots at epochs are no choice."""


class RepeatsForEpochs(Rule):
    """Repeats balance several subjects; the length of a training is given in epochs (guide §3)."""

    why: ClassVar[str] = "With few long epochs there are few places to stop at, and an epoch is no unit for the eye."
    change: ClassVar[str] = "Write repeats: 1 and as many more epochs (rename folders like 20_name to 1_name)."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if len(facts.datasets) != 1 or facts.regularisation is not None:
            return
        (only,) = facts.datasets
        low, high = only.repeats
        found = epochs(training, facts)
        if low == high > 1 and found is not None and found < FEW:
            what = f"every picture is repeated {low} times in an epoch, and there are {found:.2g} epochs."
            yield Finding(what, ("steps",))

"""A training that ends before all pictures were shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import epochs

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class LessThanAnEpoch(Rule):
    """Every picture is shown at least once."""

    why: ClassVar[str] = "What was never shown is not learnt, and which pictures are left out is chance."
    change: ClassVar[str] = "Write more steps, or fewer repeats."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        found = epochs(training, facts)
        if found is not None and found < 0.95:
            what = f"{facts.total} steps of {training.batch * training.accumulation} are {found:.2f} epochs."
            yield Finding(what, ("steps",))

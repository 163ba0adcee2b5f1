"""Snapshots to choose from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import is_small_adapter

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class SnapshotsFew(Rule):
    """There are several snapshots to choose the best from (guide §8)."""

    why: ClassVar[str] = "The best moment of a training is rarely its last, and is seen by comparing."
    change: ClassVar[str] = "Write snapshots: 10."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if facts.total is None or facts.total < 500 or not is_small_adapter(training):
            return
        count = training.snapshots.times(facts.total, max(1, round(facts.per_epoch)))
        if count < 3 and training.stop is None:
            yield Finding(f"{count} snapshots of {facts.total} steps.", ("snapshots",))

"""Length of the training against the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import is_small_adapter

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

LEAST = 300
"""Pictures shown in all, of which little can be learnt."""
MOST = 400
"""Showings of one picture after which it is memorised at usual rates."""


class StepsForPictures(Rule):
    """A picture is shown neither a few times nor hundreds of times (guide §3)."""

    why: ClassVar[str] = (
        "A character needs about 1000 pictures shown in all, a style 3000; a picture that is shown hundreds of times "
        "is memorised."
    )
    change: ClassVar[str] = "Change steps; snapshots and the verdict find the best of a longer training."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if not is_small_adapter(training) or not facts.pictures or facts.total is None or training.stop is not None:
            return
        shown = facts.total * training.batch * training.accumulation
        each = shown / facts.pictures
        if shown < LEAST:
            yield Finding(f"only {shown} pictures are shown in all, {each:.0f} times each.", ("steps",))
        elif each > MOST:
            yield Finding(f"each of {facts.pictures} pictures is shown {each:.0f} times.", ("steps",))

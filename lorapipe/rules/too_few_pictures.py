"""Number of pictures against the subject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.training.subjects import LEAST_PICTURES

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class TooFewPictures(Rule):
    """There are pictures enough: 10 to 25 of a character, better 100; more of a concept or a style (guide §3, §9)."""

    why: ClassVar[str] = "What few pictures share by chance, a pose or a background, is learnt with the subject."
    change: ClassVar[str] = (
        "Add pictures; or train a quick LoRA, keep the best of the pictures that it makes, and train again with them: "
        "`lorapipe new --from-one PICTURE` writes that."
    )

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        least = LEAST_PICTURES[training.subject or "character"]
        if 0 < facts.pictures < least:
            count = "1 picture is" if facts.pictures == 1 else f"{facts.pictures} pictures are"
            yield Finding(f"{count} few for a {training.subject or 'character'}.", ("dataset",))

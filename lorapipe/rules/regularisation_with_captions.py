"""Regularisation pictures beside captioned ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class RegularisationWithCaptions(Rule):
    """Regularisation goes with pictures that have a keyword only, not with captions (guide §1)."""

    why: ClassVar[str] = (
        "Captions already say what is not the subject; regularisation then holds the base where it should learn, at "
        "twice the time."
    )
    change: ClassVar[str] = "Remove regularisation, or the caption files (the folder name 1_word gives the keyword)."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.regularisation is None or not facts.captions or training.subject == "style":
            return
        written = sum(each.written for each in facts.datasets)
        with_more = sum("," in caption or caption.count(" ") > 3 for caption in facts.captions)
        if written >= 0.8 * len(facts.captions) and with_more >= 0.8 * len(facts.captions):
            what = f"{written} of {len(facts.captions)} pictures have captions, and there are regularisation pictures."
            yield Finding(what, ("regularisation",))

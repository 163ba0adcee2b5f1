"""Shuffled captions and the trigger word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.captioning.tags import compared_tags
from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import trigger_of

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class KeepTokensForTrigger(Rule):
    """Where tags are shuffled or dropped, the trigger word stays in front (guide §7)."""

    why: ClassVar[str] = (
        "A word in front is learnt best, and a trigger word that is left out now and then is learnt worse."
    )
    change: ClassVar[str] = "Write keep_tokens: 1, with the trigger word first."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        captions = training.captions
        if not (captions.shuffle or captions.tag_dropout) or captions.keep_separator:
            return
        trigger = trigger_of(training, facts)
        where = [tags.index(trigger) for each in facts.captions if trigger in (tags := compared_tags(each))]
        if not trigger or len(where) < max(2, len(facts.captions) // 2):
            return
        if sum(place >= captions.keep_tokens for place in where) > len(where) // 2:
            kept = f"the first {captions.keep_tokens} stay" if captions.keep_tokens else "none stays in place"
            what = f"tags are shuffled or dropped, and {kept}, but the trigger word {trigger!r} should."
            most = max(where) + 1
            change = (
                f"Write keep_tokens: {most}."
                if most <= 3
                else "Put it first in the captions, and write keep_tokens: 1."
            )
            yield Finding(what, ("captions", "keep_tokens"), change)

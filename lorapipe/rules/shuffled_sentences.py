"""Shuffling of sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import are_sentences

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class ShuffledSentences(Rule):
    """Only tags are shuffled or dropped, not the parts of sentences."""

    why: ClassVar[str] = "A sentence that is cut at its commas and mixed says something else."
    change: ClassVar[str] = "Write shuffle: false and tag_dropout: 0."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        captions = training.captions
        if (captions.shuffle or captions.tag_dropout) and are_sentences(facts.captions):
            field = "shuffle" if captions.shuffle else "tag_dropout"
            yield Finding("the captions are sentences, and their parts are shuffled or dropped.", ("captions", field))

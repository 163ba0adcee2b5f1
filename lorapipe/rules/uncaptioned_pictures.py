"""Pictures without any words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class UncaptionedPictures(Rule):
    """Something calls the subject: a caption, a folder name, a class word or a trigger."""

    why: ClassVar[str] = "Without words the subject is learnt for every prompt, and none can call it or leave it out."
    change: ClassVar[str] = "Write captions: {trigger: WORD} in the training, or class_word in the dataset."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.captions.trigger or training.captions.prefix or training.words or not facts.captions:
            return
        if training.subject != "style" and training.captions.dropout < 1:
            for each in facts.datasets:
                silent = sum(not caption.strip() for caption in each.captions)
                if silent > len(each.captions) // 2:
                    what = f"{silent} of {len(each.captions)} pictures have no caption at all."
                    yield Finding(what, ("class_word",), stage=each.stage)

"""Regularisation pictures with the trigger word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import trigger_of
from lorapipe.whole_words import has_words

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class RegularisationSaysTrigger(Rule):
    """Regularisation pictures do not say the trigger word."""

    why: ClassVar[str] = "They would teach that the word means the class, against the pictures of the subject."
    change: ClassVar[str] = (
        "Take the word out of their captions; a prefix or trigger of the training does not apply to a dataset with "
        "captions: {}."
    )

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        trigger = trigger_of(training, facts)
        if not trigger or facts.regularisation is None:
            return
        saying = sum(has_words(caption, trigger) for caption in facts.regularisation.captions)
        if saying:
            what = f"{saying} captions of the regularisation pictures say {trigger!r}."
            yield Finding(what, ("captions",), stage=facts.regularisation.stage)

"""Captions that are left out too often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.percent import percent
from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class CaptionDropoutHigh(Rule):
    """At most a third of the pictures is shown without its caption."""

    why: ClassVar[str] = (
        "Pictures without a caption teach the base without the trigger word: the subject leaks into everything."
    )
    change: ClassVar[str] = "Write dropout: 0.1 or less."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if 1 > training.captions.dropout > 0.34:
            what = f"{percent(training.captions.dropout)} of the captions are left out."
            yield Finding(what, ("captions", "dropout"))

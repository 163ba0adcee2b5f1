"""min-SNR's gamma against the subject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class MinSnrForSubject(Rule):
    """The gamma of min-SNR is at most 5 for characters, and at least 5 for styles and concepts (guide §7)."""

    why: ClassVar[str] = (
        "A low gamma weighs shapes over fine detail, which suits characters; styles and concepts need the detail too."
    )
    change: ClassVar[str] = "Write gamma: 5."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        gamma: float | None = getattr(training.weighting, "gamma", None)
        if gamma is None or training.weighting.name != "min_snr":
            return
        path = ("weighting", "gamma")
        if gamma < 1 or gamma > 20:
            what = (
                "so strong that little is learnt"
                if gamma < 1
                else "nearly none: write weighting: none if that is meant"
            )
            yield Finding(f"gamma {gamma:g} is {what}.", path)
        elif training.subject == "character" and gamma > 10:
            yield Finding(f"gamma {gamma:g} for a character.", path)
        elif training.subject in ("style", "concept") and gamma < 4:
            yield Finding(f"gamma {gamma:g} for a {training.subject}.", path)

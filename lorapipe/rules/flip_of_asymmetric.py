"""Mirrored pictures of an asymmetric subject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.training.data.caption_kinds import asymmetric_tag

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class FlipOfAsymmetric(Rule):
    """A subject whose left and right differ is not mirrored (guide §7)."""

    why: ClassVar[str] = "The LoRA learns both sides, so a scar, a side tail or a text appears on either, or mirrored."
    change: ClassVar[str] = "Write augment: {flip: false}."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        for each in facts.datasets:
            if each.flip and len(each.captions) >= 4 and (tag := asymmetric_tag(each.captions)):
                yield Finding(
                    f"pictures are mirrored, and many captions say {tag!r}.", ("augment", "flip"), stage=each.stage
                )

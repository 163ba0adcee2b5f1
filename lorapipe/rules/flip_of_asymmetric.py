"""Mirrored pictures of an asymmetric subject."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.training.data.trigger_word import compared_tags

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

SHARE = 0.3
"""Share of the captions from which a tag is a feature of the subject, not of single pictures."""
ASYMMETRIC = re.compile(
    r"(?<!looking )(?<!facing )(?<!from )(?<!to )(?<!the )"
    r"\b(left|right|asymmetric\w*|eyepatch|heterochromia|side ponytail|side braid|one side up|"
    r"(hair|bangs) over (one|left|right) eye|one eye (covered|closed)|scar (on|across|over)|mole (under|on)|"
    r"single (braid|earring|glove|wing|horn|sleeve|pauldron|thighhigh|gauntlet)|"
    r"(mechanical|prosthetic|missing) (arm|leg|hand|eye)|monocle|armband|sash|"
    r"(text|logo|letters|number) on)\b"
)
"""Words of tags that name something on one side, or something that reads wrongly in a mirror."""


class FlipOfAsymmetric(Rule):
    """A subject whose left and right differ is not mirrored (guide §7)."""

    why: ClassVar[str] = "The LoRA learns both sides, so a scar, a side tail or a text appears on either, or mirrored."
    change: ClassVar[str] = "Write augment: {flip: false}."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        for each in facts.datasets:
            if not each.flip or len(each.captions) < 4:
                continue
            said = [tag for caption in each.captions for tag in {*compared_tags(caption)}]
            for found in sorted({tag for tag in said if ASYMMETRIC.search(tag)}):
                if said.count(found) >= SHARE * len(each.captions):
                    what = f"pictures are mirrored, and {said.count(found)} of {len(each.captions)} captions say {found!r}."
                    yield Finding(what, ("augment", "flip"), stage=each.stage)
                    break

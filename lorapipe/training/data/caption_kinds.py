"""What a caption is: tags or a sentence, how long it is at least for CLIP, and whether it names something on one side."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorapipe.captioning.tags import compared_tags, tags_of

LONG_TAG = 5
"""Words from which on a text between commas is part of a sentence, not a tag."""
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


def is_sentence(caption: str) -> bool:
    """Return whether a caption is a sentence rather than tags."""
    tags = tags_of(caption)
    words = len(caption.split())
    return words > LONG_TAG and words / max(1, len(tags)) >= LONG_TAG


def least_tokens(caption: str) -> int:
    """Return the least number of CLIP's tokens of a caption: every word, number's digit and run of marks is one at least.

    CLIP's tokenizer (Radford et al. 2021, `simple_tokenizer`) splits a text in these pieces, and the pieces further.
    """
    return len(re.findall(r"[^\W\d_]+|\d|(?:[^\s\w]|_)+", caption))


def asymmetric_tag(captions: Sequence[str]) -> str:
    """Return a tag of many captions that names something on one side of the subject; empty where there is none."""
    said = [{*compared_tags(caption)} for caption in captions]
    found = sorted({tag for tags in said for tag in tags if ASYMMETRIC.search(tag)})
    return next((tag for tag in found if sum(tag in tags for tags in said) >= SHARE * len(said)), "")

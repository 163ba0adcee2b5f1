"""Audit of captions: which words will bind to what all pictures share, and which tags are indistinguishable.

A LoRA associates a word with what its pictures have in common and others lack. So what all pictures show and no caption
mentions binds to the words that all captions share. Only captions are read, no pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lorapipe.caption_analysis.tag_index import TagCount, TagIndex

FEWEST = 8
"""Fewest captions for an audit."""
SHOWN = 6
"""Most tags that a line names."""


def audit(captions: Sequence[str], separator: str = ",") -> Iterator[str]:
    """Yield a line for each thing in a dataset's captions that a user may want to change; none for few captions."""
    index = TagIndex(captions, separator)
    if index.said < FEWEST:
        return
    yield from _shared(index.always, index.said)
    if index.once:
        yield f"{_some(index.once)}: in one caption only. Too little to learn for a word; such a tag does no harm"
    if index.together:
        named = "; ".join(" with ".join(tags[:SHOWN]) for tags in index.together[:3])
        yield f"always said together, and so learnt as one: {named}. A picture of one without the other tells them apart"


def _shared(shared: Sequence[TagCount], count: int) -> Iterator[str]:
    if not shared:
        what = (
            "no tag is in nearly all captions: there is no trigger word, and what the pictures share goes to all tags"
        )
        yield f"{what}. captions: {{trigger: WORD}} in the training puts one before them"
        return
    said = ", ".join(f"{each.tag} ({each.count} of {count})" for each in shared[:SHOWN])
    what = f"in nearly all captions: {said}. What all pictures show and no caption says is learnt with these words"
    more = "; tag it where it should not be, such as a scene or a thing that is not part of the subject"
    several = (
        "" if len(shared) == 1 else ". Each takes its part of what is learnt: use them together, or say one of them"
    )
    yield f"{what}{more}{several}"


def _some(tags: Sequence[str]) -> str:
    more = f" and {len(tags) - SHOWN} more" if len(tags) > SHOWN else ""
    return f"{', '.join(tags[:SHOWN])}{more}"

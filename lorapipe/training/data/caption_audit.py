"""Audit of captions: which words will bind to what all pictures share, and which tags are indistinguishable.

A LoRA associates a word with what its pictures have in common and others lack. So what all pictures show and no caption
mentions binds to the words that all captions share. Only captions are read, no pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lorapipe.captioning.tags import compared_tags
from lorapipe.training.data.trigger_word import SHARED

FEWEST = 8
"""Fewest captions for an audit."""
SHOWN = 6
"""Most tags that a line names."""


def audit(captions: Sequence[str], separator: str = ",") -> Iterator[str]:
    """Yield a line for each thing in a dataset's captions that a user may want to change; none for few captions."""
    said = [frozenset(compared_tags(caption, separator)) for caption in captions]
    said = [tags for tags in said if tags]
    if len(said) < FEWEST:
        return
    counts = Counter(tag for tags in said for tag in tags)
    shared = [tag for tag, count in counts.items() if count >= SHARED * len(said)]
    yield from _shared(shared, counts, len(said))
    once = sorted(tag for tag, count in counts.items() if count == 1)
    if once:
        yield f"{_some(once)}: in one caption only. Too little to learn for a word; such a tag does no harm"
    yield from _together(said, counts, len(said))


def _shared(shared: Sequence[str], counts: Counter[str], count: int) -> Iterator[str]:
    if not shared:
        what = (
            "no tag is in nearly all captions: there is no trigger word, and what the pictures share goes to all tags"
        )
        yield f"{what}. captions: {{trigger: WORD}} in the training puts one before them"
        return
    said = ", ".join(
        f"{tag} ({counts[tag]} of {count})" for tag in sorted(shared, key=lambda tag: -counts[tag])[:SHOWN]
    )
    what = f"in nearly all captions: {said}. What all pictures show and no caption says is learnt with these words"
    more = "; tag it where it should not be, such as a scene or a thing that is not part of the subject"
    several = (
        "" if len(shared) == 1 else ". Each takes its part of what is learnt: use them together, or say one of them"
    )
    yield f"{what}{more}{several}"


def _together(said: Sequence[frozenset[str]], counts: Counter[str], count: int) -> Iterator[str]:
    """Yield groups of tags that always occur in the same captions: two or more, but not nearly all."""
    where: dict[frozenset[int], list[str]] = {}
    for tag, times in counts.items():
        if 2 <= times < SHARED * count:
            where.setdefault(frozenset(place for place, tags in enumerate(said) if tag in tags), []).append(tag)
    groups = [sorted(tags) for tags in where.values() if len(tags) > 1]
    if groups:
        named = "; ".join(" with ".join(tags[:SHOWN]) for tags in groups[:3])
        yield f"always said together, and so learnt as one: {named}. A picture of one without the other tells them apart"


def _some(tags: Sequence[str]) -> str:
    more = f" and {len(tags) - SHOWN} more" if len(tags) > SHOWN else ""
    return f"{', '.join(tags[:SHOWN])}{more}"

"""Counts of tags over captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lorapipe.captioning.tags import Tags, tag_key


def tag_counts(captions: Iterable[Tags]) -> Counter[str]:
    """Return how many captions have each tag, by `tag_key`; a tag that a caption repeats counts once."""
    return Counter(key for tags in captions for key in {*map(tag_key, tags)})

"""Finds captions that are unlike all others of a folder, by their tags alone: another subject, another language, a slip."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from lorapipe.caption_analysis.tag_index import TagIndex

FEWEST = 8
"""Fewest captions that can be compared."""
UNLIKE = 0.25
"""A caption is unusual if its tags are this many times as common, at most, as those of the caption in the middle."""


@dataclass(frozen=True)
class UnusualCaption:
    """A caption by its index, and how common its tags are: the mean share of the other captions that have each."""

    place: int
    commonness: float


def unusual_captions(index: TagIndex) -> list[UnusualCaption]:
    """Return the captions whose tags hardly any other has, the least common first; none of few captions."""
    if index.said < FEWEST:
        return []
    common = {place: _commonness(index, tags) for place, tags in enumerate(index.tags) if tags}
    limit = UNLIKE * median(common.values())
    found = [UnusualCaption(place, round(value, 4)) for place, value in common.items() if value < limit]
    return sorted(found, key=lambda each: (each.commonness, each.place))


def _commonness(index: TagIndex, tags: tuple[str, ...]) -> float:
    others = index.said - 1
    return sum(len(index.places[tag]) - 1 for tag in tags) / (others * len(tags))

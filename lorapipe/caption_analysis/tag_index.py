"""Which captions have which tags: frequencies and co-occurrence. Its time is linear in the length of all captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lorapipe.captioning.tags import compared_tags
from lorapipe.training.data.trigger_word import COUNTS, SHARED

MOST_PAIRED = 300
"""Most tags, the most frequent ones, whose co-occurrence is counted: pairs grow with the square."""
FEWEST_VALUES = 3
"""Fewest captions that say an attribute, before it is said to have one value only."""
SHARE_OF_ATTRIBUTE = 0.2
"""Least share of the captions that say such an attribute."""

NO_ATTRIBUTES = frozenset(("out", "up", "down", "on", "off", "over", "in", "away", "back", "apart", "together", "view"))
"""Last words that are no attribute: `tongue out`, `looking back`."""


@dataclass(frozen=True)
class TagCount:
    """A tag, as it is compared (lower case, single spaces), and the number of captions that have it."""

    tag: str
    count: int


@dataclass(frozen=True)
class TagPair:
    """Two tags, the captions that have both, and those that have either: their ratio is the Jaccard index."""

    first: str
    second: str
    both: int
    either: int


class TagIndex:
    """The tags of captions, compared in lower case; captions without tags count in no share."""

    def __init__(self, captions: Sequence[str], separator: str = ",") -> None:
        self.tags: list[tuple[str, ...]] = [
            tuple(dict.fromkeys(compared_tags(caption, separator))) for caption in captions
        ]
        """The tags of each caption, in its order, each once."""
        self.places: dict[str, list[int]] = {}
        """Tag → the captions that have it, ascending."""
        for place, tags in enumerate(self.tags):
            for tag in tags:
                self.places.setdefault(tag, []).append(place)
        self.said = sum(map(bool, self.tags))
        """The number of captions that have a tag."""

    def count(self, tag: str) -> int:
        """Return how many captions have a tag."""
        return len(self.places.get(tag, ()))

    @cached_property
    def counts(self) -> tuple[TagCount, ...]:
        """All tags, the most frequent first."""
        found = (TagCount(tag, len(places)) for tag, places in self.places.items())
        return tuple(sorted(found, key=lambda each: (-each.count, each.tag)))

    @cached_property
    def always(self) -> tuple[TagCount, ...]:
        """Tags of nearly all captions: what all pictures show and no caption says is learnt with them."""
        return tuple(each for each in self.counts if each.count >= max(2.0, SHARED * self.said))

    @cached_property
    def trigger(self) -> str:
        """The first tag that nearly all captions have, except counts of subjects; empty where there is none."""
        shared = {each.tag for each in self.always}
        first = (tag for tags in self.tags for tag in tags if tag in shared and not COUNTS.fullmatch(tag))
        return next(first, "")

    @cached_property
    def once(self) -> tuple[str, ...]:
        """Tags of one caption, sorted."""
        return tuple(sorted(tag for tag, places in self.places.items() if len(places) == 1))

    @cached_property
    def together(self) -> tuple[tuple[str, ...], ...]:
        """Groups of tags that always occur in the same captions: two or more captions, but not nearly all."""
        groups: dict[tuple[int, ...], list[str]] = {}
        for tag, places in self.places.items():
            if 2 <= len(places) < SHARED * self.said:
                groups.setdefault(tuple(places), []).append(tag)
        found = [(len(places), tuple(sorted(tags))) for places, tags in groups.items() if len(tags) > 1]
        return tuple(tags for _, tags in sorted(found, key=lambda each: (-each[0], each[1])))

    @cached_property
    def never_varied(self) -> tuple[TagCount, ...]:
        """Tags that are the only value of their attribute, the last word: `white background`, and no other background.

        Tags of nearly all captions are not among them.
        """
        values: dict[str, list[str]] = {}
        for tag in self.places:
            head = tag.rpartition(" ")[2]
            if head != tag and head not in NO_ATTRIBUTES:
                values.setdefault(head, []).append(tag)
        least, most = max(FEWEST_VALUES, SHARE_OF_ATTRIBUTE * self.said), max(2.0, SHARED * self.said)
        only = (TagCount(tags[0], self.count(tags[0])) for tags in values.values() if len(tags) == 1)
        found = [each for each in only if least <= each.count < most]
        return tuple(sorted(found, key=lambda each: (-each.count, each.tag)))

    def pairs(self, most: int = MOST_PAIRED) -> Iterator[TagPair]:
        """Yield the pairs among the most frequent tags that occur in the same captions, except those of nearly all."""
        always = {each.tag for each in self.always}
        chosen = [each.tag for each in self.counts if each.tag not in always and each.count > 1][:most]
        bits = [(tag, self._bits(tag)) for tag in chosen]
        for place, (first, mask) in enumerate(bits):
            for second, other in bits[place + 1 :]:
                if both := (mask & other).bit_count():
                    yield TagPair(first, second, both, self.count(first) + self.count(second) - both)

    def _bits(self, tag: str) -> int:
        """Return the captions with a tag as the bits of an integer."""
        data = bytearray(len(self.tags) // 8 + 1)
        for place in self.places[tag]:
            data[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(data, "little")

"""Finds tags that are one tag written in two ways, and tags that are probably misspelt.

Two tags are one if their normal forms are equal: without underscores, hyphens, escapes and plurals, in British or American
spelling, with the usual word for a few synonyms, whatever the order of their words. A rare tag is a misspelling of a
frequent one if a letter is missing, added, replaced or exchanged with the next (Damerau 1964), in a word of no other tag.
Candidates are found by deleting a letter from each word on either side, as in SymSpell, so the time is linear in the number
of tags.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["spelling", "misspelling"]
Part = tuple[str, str, str]
"""The words before a word, the word with perhaps a letter left out, and the words after it."""
SHORTEST = 4
"""Letters of the shortest word that is compared with others: `hat` and `bat` are two words."""
RARE = 1 / 3
"""A misspelling is at most this often as frequent as the right spelling."""
VARIANTS = {
    "grey": "gray", "colour": "color", "coloured": "colored", "colourful": "colorful", "moustache": "mustache",
    "pyjama": "pajama", "jewellery": "jewelry", "armour": "armor", "theatre": "theater", "centre": "center",
    "aeroplane": "airplane", "plough": "plow", "fibre": "fiber", "photograph": "photo", "photography": "photo",
    "picture": "image", "couch": "sofa", "spectacle": "glass", "eyeglass": "glass", "trouser": "pant",
    "trainer": "sneaker", "jumper": "sweater", "bg": "background", "pic": "image", "tee": "tshirt",
    "smiling": "smile", "grinning": "grin", "frowning": "frown", "blushing": "blush", "laughing": "laugh", "crying": "tears",
}  # fmt: skip
"""Words → the same word in the other spelling, or its usual synonym in captions."""
PLURAL = re.compile(r"(?<=ss|sh|ch)es$|(?<=x)es$|(?<=[a-rt-z])s$")
DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class SpellingPair:
    """A tag and the more frequent tag that it probably is, each with the number of captions that have it."""

    tag: str
    count: int
    better: str
    better_count: int
    kind: Kind


def spelling_pairs(counts: Mapping[str, int]) -> list[SpellingPair]:
    """Return pairs of tags that are probably one, the most frequent first; each tag is the worse one of at most one pair."""
    found = {pair.tag: pair for pair in _misspellings(counts)} | {pair.tag: pair for pair in _variants(counts)}
    return sorted(found.values(), key=lambda each: (-each.better_count, -each.count, each.tag))


def normal_form(tag: str) -> str:
    """Return what two spellings of one tag have in common."""
    words = re.split(r"[\s_\-]+", tag.replace("\\", "").strip())
    return " ".join(sorted(_usual(word) for word in words if word))


def _usual(word: str) -> str:
    """Return the singular of an English word, in the usual spelling."""
    single = PLURAL.sub("", word) if len(word) >= SHORTEST and word not in VARIANTS else word
    return VARIANTS.get(single, single)


def _variants(counts: Mapping[str, int]) -> Iterator[SpellingPair]:
    groups: dict[str, list[str]] = {}
    for tag in counts:
        groups.setdefault(normal_form(tag), []).append(tag)
    for tags in groups.values():
        if len(tags) > 1:
            best, *others = sorted(tags, key=lambda tag: (-counts[tag], tag))
            yield from (SpellingPair(tag, counts[tag], best, counts[best], "spelling") for tag in others)


def _misspellings(counts: Mapping[str, int]) -> Iterator[SpellingPair]:
    words = Counter(word for tag in counts for word in {*tag.split()})
    frequent: dict[Part, str] = {}
    for tag in sorted(counts, key=lambda tag: (-counts[tag], tag)):
        others = {frequent[part] for part in _parts(tag) if part in frequent} if frequent else set()
        if right := _right_spelling(tag, others, counts, words):
            yield SpellingPair(tag, counts[tag], right, counts[right], "misspelling")
        elif counts[tag] * RARE >= 1:
            for part in _parts(tag):
                frequent.setdefault(part, tag)


def _right_spelling(tag: str, others: Iterable[str], counts: Mapping[str, int], words: Mapping[str, int]) -> str:
    """Return the most frequent of the tags that one is a slip of; empty where there is none."""
    slips = [each for each in others if counts[tag] <= RARE * counts[each] and _is_slip(tag, each, words)]
    return max(slips, key=lambda each: (counts[each], each), default="")


def _parts(tag: str) -> Iterator[Part]:
    words = tag.split()
    for place in range(len(words)):
        yield from _deletions(words, place)


def _deletions(parts: list[str], place: int) -> Iterator[Part]:
    """Yield a word as it is and with each letter left out, between the words before and after it."""
    word = parts[place]
    if len(word) >= SHORTEST:
        before, after = " ".join(parts[:place]), " ".join(parts[place + 1 :])
        yield before, word, after
        yield from ((before, word[:cut] + word[cut + 1 :], after) for cut in range(len(word)))


def _is_slip(tag: str, other: str, words: Mapping[str, int]) -> bool:
    """Whether two tags differ in one word, by one letter that is no digit, and no other tag has the word of the first."""
    differing = [pair for pair in zip(tag.split(), other.split(), strict=False) if pair[0] != pair[1]]
    if len(differing) != 1 or len(tag.split()) != len(other.split()):
        return False
    one, right = differing[0]
    if words[one] > 1 or min(len(one), len(right)) < SHORTEST:
        return False
    return not (DIGIT.search(one) or DIGIT.search(right)) and _one_step(one, right)


def _one_step(one: str, other: str) -> bool:
    """Whether a letter is missing, added, replaced, or exchanged with the next."""
    start = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    a, b = one[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[1::-1] == b[:2] and a[2:] == b[2:])

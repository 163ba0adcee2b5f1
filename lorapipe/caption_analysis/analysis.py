"""The analysis of a folder's captions: everything that `lorapipe tags`, `prepare`'s page and the editor say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from lorapipe.caption_analysis.tag_index import TagCount, TagIndex, TagPair
from lorapipe.caption_analysis.tag_spellings import SpellingPair, spelling_pairs
from lorapipe.caption_analysis.tagger_comparison import TagDifference, not_captioned, not_seen
from lorapipe.caption_analysis.unusual_captions import unusual_captions
from lorapipe.training.data.caption_kinds import is_sentence, least_tokens
from lorapipe.whole_words import has_words

MAX_TOKENS = 75
"""The default limit, that of `max_tokens` of train."""
CLOSEST = 0.5
"""Least Jaccard index of tags that are said to occur together."""
MOST_LISTED = 1000
"""Most entries of a list in the analysis as data, except frequencies."""


@dataclass(frozen=True)
class LongCaption:
    """A picture whose caption has more tokens than are read; `tokens` is the least number that it can have for CLIP."""

    picture: str
    tokens: int


@dataclass(frozen=True)
class OddCaption:
    """A picture whose caption is unlike others: those of `neighbours`, which look like it, or all, if there are none."""

    picture: str
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaptionAnalysis:
    """What the captions of a folder teach. Tags are compared in lower case; lists begin with what matters most.

    `trigger` is the given trigger word, or the first tag that nearly all captions have; `lacking` are captioned pictures
    without it. `spellings` are tags that are probably one. `longest` is the least number of tokens of the longest caption.
    """

    pictures: int
    captioned: int
    sentences: int
    trigger: str
    trigger_given: bool
    tags: tuple[TagCount, ...]
    always: tuple[TagCount, ...]
    never_varied: tuple[TagCount, ...]
    once: tuple[str, ...]
    together: tuple[tuple[str, ...], ...]
    pairs: tuple[TagPair, ...]
    spellings: tuple[SpellingPair, ...]
    without_caption: tuple[str, ...]
    lacking: tuple[str, ...]
    max_tokens: int
    longest: int
    too_long: tuple[LongCaption, ...]
    unusual: tuple[OddCaption, ...]
    unlike_neighbours: tuple[OddCaption, ...] | None = None
    """None where the pictures were not looked at."""
    not_captioned: tuple[TagDifference, ...] | None = None
    """What a tagger sees and captions do not say; None where there are no tagger's captions."""
    not_seen: tuple[TagDifference, ...] | None = None
    """What captions say and the tagger, which knows the tag, does not see."""
    complaints: tuple[str, ...] = field(default=())
    """Messages about caption files."""

    def as_data(self) -> dict[str, object]:
        """Return the analysis as plain data, its lists cut to `MOST_LISTED` entries, except the frequencies."""
        data = asdict(self)
        cut = {name: each[:MOST_LISTED] for name, each in data.items() if isinstance(each, tuple)}
        return {**data, **cut, "tags": {each.tag: each.count for each in self.tags}}


def analyse(
    captions: Mapping[str, str],
    *,
    trigger: str = "",
    max_tokens: int = MAX_TOKENS,
    separator: str = ",",
    signatures: Mapping[str, bytes] | None = None,
    tagged: Mapping[str, str] | None = None,
    complaints: Sequence[str] = (),
) -> CaptionAnalysis:
    """Analyse captions by their pictures' names.

    With `signatures` (`duplicates.signature`), also beside pictures that look alike; with `tagged`, beside a tagger's.
    """
    names, texts = [*captions], [*captions.values()]
    index = TagIndex(texts, separator)
    word = trigger or index.trigger
    tokens = [least_tokens(text) for text in texts]
    captioned = [name for name, text in captions.items() if text.strip()]
    return CaptionAnalysis(
        pictures=len(names),
        captioned=len(captioned),
        sentences=sum(map(is_sentence, texts)),
        trigger=word,
        trigger_given=bool(trigger),
        tags=index.counts,
        always=index.always,
        never_varied=index.never_varied,
        once=index.once,
        together=index.together,
        pairs=_close_pairs(index),
        spellings=tuple(spelling_pairs({each.tag: each.count for each in index.counts})),
        without_caption=tuple(name for name, text in captions.items() if not text.strip()),
        lacking=tuple(_lacking(captions, index, word)),
        max_tokens=max_tokens,
        longest=max(tokens, default=0),
        too_long=_too_long(names, tokens, max_tokens),
        unusual=tuple(OddCaption(names[each.place]) for each in unusual_captions(index)),
        unlike_neighbours=_unlike_neighbours(names, index, signatures),
        not_captioned=None if tagged is None else not_captioned(captions, tagged),
        not_seen=None if tagged is None else not_seen(captions, tagged),
        complaints=tuple(complaints),
    )


def _close_pairs(index: TagIndex) -> tuple[TagPair, ...]:
    close = [pair for pair in index.pairs() if pair.both > 2 and pair.both >= CLOSEST * pair.either]
    return tuple(sorted(close, key=lambda pair: (-pair.both / pair.either, -pair.both, pair.first, pair.second)))


def _too_long(names: Sequence[str], tokens: Sequence[int], most: int) -> tuple[LongCaption, ...]:
    found = [LongCaption(name, count) for name, count in zip(names, tokens, strict=True) if count > most]
    return tuple(sorted(found, key=lambda each: (-each.tokens, each.picture)))


def _lacking(captions: Mapping[str, str], index: TagIndex, word: str) -> Iterator[str]:
    """Yield the captioned pictures without a word, neither as a tag nor in one."""
    having = set(index.places.get(word.lower(), ()))
    for place, (name, text) in enumerate(captions.items() if word else ()):
        if place not in having and text.strip() and not has_words(text, word):
            yield name


def _unlike_neighbours(
    names: Sequence[str], index: TagIndex, signatures: Mapping[str, bytes] | None
) -> tuple[OddCaption, ...] | None:
    if signatures is None:
        return None
    from lorapipe.caption_analysis.picture_neighbours import unlike_neighbours

    seen = {place: signatures[name] for place, name in enumerate(names) if name in signatures}
    found = unlike_neighbours(index, seen)
    return tuple(OddCaption(names[each.place], tuple(names[near] for near in each.neighbours)) for each in found)

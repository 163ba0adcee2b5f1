"""The prompts of an evaluation: the user's, the trigger word alone, and scenes made from the training captions.

A scene has the trigger word and a tag of each of several kinds: where it is, what it wears, how it looks. What a kind is
comes from the captions themselves: tags of one kind exclude each other (meadow, snow), those of two kinds meet. Only tags
that two captions or more have, and two or more lack, are taken: what these teach can be measured in the pictures
(`measures.taught`). The same captions give the same scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial, reduce
from hashlib import sha256
from itertools import combinations
from operator import or_

from lorapipe.captioning.tags import compared_tags
from lorapipe.series import evenly_spaced

AUTO = "auto"
"""What is written in place of a prompt for scenes made from the captions."""
SCENES = 4
"""So many scenes are made."""
KINDS, MOST_KINDS = 3, 6
"""A scene has tags of so many kinds at most, besides the trigger word; of so many that take turns."""
LEAST = 2
"""A tag must be in so many captions, and missing in as many."""
MOST_TRIED = 500
"""So many choices are tried for a kind at most."""
LONGEST = 60
"""A longer tag is a sentence, which is no piece to build with."""
UNTAUGHT = ("portrait", "full body, standing", "walking in a park", "in the snow, at night")
"""Scenes where the captions teach none."""


def prompt_rows(prompts: Sequence[str], trigger: str, captions: Sequence[str]) -> tuple[str, ...]:
    """What is asked for: the trigger word alone first, then the prompts, scenes in place of `auto`; each once.

    `captions` are those of the training pictures as the trainer reads them; `trigger` may be empty.
    """
    rows = [trigger] if trigger and not any(_same(prompt, trigger) for prompt in prompts) else []
    for prompt in prompts:
        rows += scenes(trigger, captions) if prompt == AUTO else [prompt]
    return tuple(dict.fromkeys(rows))


def most_rows(prompts: Sequence[str]) -> int:
    """How many rows there are at the most, before the captions are known."""
    return 1 + sum(SCENES if prompt == AUTO else 1 for prompt in prompts)


def scenes(trigger: str, captions: Sequence[str]) -> list[str]:
    """Varied scenes of what the captions teach; where they are sentences, some of them; where there are none, usual ones."""
    kinds = tag_kinds(captions, trigger)
    if kinds:
        return [_scene(trigger, tags) for tags in _combined(kinds, captions)]
    distinct = [caption for caption in dict.fromkeys(captions) if caption and not _same(caption, trigger)]
    if len(distinct) >= 2:
        return evenly_spaced(distinct, SCENES)
    return [_scene(trigger, [text]) for text in UNTAUGHT]


def tag_kinds(captions: Sequence[str], trigger: str = "") -> list[list[str]]:
    """Tags that can be measured, by kind: no caption has two of a kind. The `MOST_KINDS` that most captions have.

    All captions say where a picture is, and none says two places: a kind is the tags that exclude each other and are in as
    many captions as possible, then the same of the tags that are left.
    """
    said = [{*compared_tags(caption)} for caption in captions]
    counts = _measurable(said, trigger)
    left = {tag: sum(1 << place for place, tags in enumerate(said) if tag in tags) for tag in counts}
    kinds: list[list[str]] = []
    while left and len(kinds) < MOST_KINDS:
        kinds.append(_exclusive(left))
        for tag in kinds[-1]:
            del left[tag]
    return sorted(kinds, key=lambda kind: (-sum(counts[tag] for tag in kind), kind))


def _exclusive(tags: Mapping[str, int]) -> list[str]:
    """The tags that exclude each other and are in the most captions, as far as `MOST_TRIED` choices tell.

    `tags` have the captions that they are in, as bits. Branch and bound, caption by caption: each has one of the tags, or
    none. The first choices are the most frequent tags, so that what is tried first is good already.
    """
    best, most = list[str](), 0
    waiting: list[tuple[list[str], int, int]] = [([], 0, reduce(or_, tags.values()))]
    for _ in range(MOST_TRIED):
        if not waiting:
            break
        chosen, covered, undecided = waiting.pop()
        if covered > most:
            best, most = chosen, covered
        able = {tag: places for tag, places in tags.items() if not places & ~undecided}
        possible = reduce(or_, able.values(), 0)
        if covered + possible.bit_count() <= most:
            continue
        caption = possible & -possible
        waiting.append((chosen, covered, undecided & ~caption))
        for tag, places in reversed(able.items()):
            if places & caption:
                waiting.append(([*chosen, tag], covered + places.bit_count(), undecided & ~places))
    return best


def _measurable(captions: Sequence[set[str]], trigger: str) -> dict[str, int]:
    """Tags that enough captions have and enough have not, with how many have them, the most frequent first."""
    counts = Counter(tag for tags in captions for tag in tags)
    most = len(captions) - LEAST
    known = {
        tag: n for tag, n in counts.items() if LEAST <= n <= most and len(tag) <= LONGEST and not _same(tag, trigger)
    }
    return dict(sorted(known.items(), key=lambda each: (-each[1], each[0])))


def _combined(kinds: Sequence[Sequence[str]], captions: Sequence[str]) -> list[list[str]]:
    """Sets of tags, one of each kind, that use every tag about as often and repeat no pair while there are others."""
    seed = sha256("\n".join(captions).encode()).hexdigest()
    seen = Counter(pair for caption in captions for pair in _pairs({*compared_tags(caption)}))
    used: Counter[str] = Counter()

    def rank(tag: str, before: Sequence[str]) -> tuple[int, int, str]:
        met = sum(seen[pair] for other in before for pair in _pairs((tag, other)))
        return used[tag], met, sha256(f"{seed} {tag}".encode()).hexdigest()

    made: list[list[str]] = []
    for _ in range(SCENES):
        tags: list[str] = []
        for kind in sorted(kinds, key=lambda kind: min(used[tag] for tag in kind))[:KINDS]:
            tags.append(min(kind, key=partial(rank, before=tags)))
        used.update(tags)
        seen.update({pair: len(captions) for pair in _pairs(tags)})
        made.append(tags)
    return made


def _scene(trigger: str, tags: Iterable[str]) -> str:
    return ", ".join([*([trigger] if trigger else []), *tags])


def _pairs(tags: Iterable[str]) -> Iterable[tuple[str, ...]]:
    return combinations(sorted(tags), 2)


def _same(prompt: str, trigger: str) -> bool:
    return compared_tags(prompt) == compared_tags(trigger)

"""The prompts of an evaluation: the user's, the trigger word alone, and scenes made from the training captions.

A scene has the trigger word and a tag of each of several kinds: where it is, what it wears, how it looks. What a kind is
comes from the captions themselves: tags of one kind exclude each other (meadow, snow), those of two kinds meet. Only tags
that two captions or more have, and two or more lack, are taken: what these teach can be measured in the pictures
(`measures.taught`). The same captions give the same scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256
from itertools import combinations

from lorapipe.captioning.tags import compared_tags
from lorapipe.series import evenly_spaced

AUTO = "auto"
"""What is written in place of a prompt for scenes made from the captions."""
SCENES = 4
"""So many scenes are made."""
KINDS = 3
"""A scene has tags of so many kinds at most, besides the trigger word."""
LEAST = 2
"""A tag must be in so many captions, and missing in as many."""
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
    """Tags that can be measured, by kind: no caption has two of a kind. The kinds that most captions have come first."""
    said = [{*compared_tags(caption)} for caption in captions]
    counts = _measurable(said, trigger)
    together = {pair for tags in said for pair in _pairs(tags)}
    kinds: list[list[str]] = []
    for tag in counts:
        alone = (kind for kind in kinds if together.isdisjoint(pair for other in kind for pair in _pairs((tag, other))))
        kind = next(alone, None)
        if kind is None:
            kinds.append([tag])
        else:
            kind.append(tag)
    return sorted(kinds, key=lambda kind: (-sum(counts[tag] for tag in kind), kind))


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
        for kind in sorted(kinds[: 2 * KINDS], key=lambda kind: min(used[tag] for tag in kind))[:KINDS]:
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

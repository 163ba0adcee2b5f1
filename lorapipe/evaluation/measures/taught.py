"""How much of what a prompt asks for a picture shows, of the tags that the captions taught.

A tag that some captions have and others have not is a direction in the base's features: the mean of the pictures with it
minus that of the pictures without. A picture's place on it, 0 as those without and 1 as those with, says whether the tag
is there, in the drawing and on the subject that the training is about. It is a linear discriminant with shrunken,
diagonal covariance (Dudoit et al. 2002, JASA 97) on how near a picture's places come to each of a set of visual words
(Sivic & Zisserman 2003), so that a small thing counts as much as a large one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.k_means import centres_of, nearest
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.prompts import LEAST
from lorapipe.training.data.trigger_word import compared_tags

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen

WORDS = 96


@dataclass(frozen=True)
class Direction:
    """A tag's direction (K,) and the places on it of pictures without (`low`) and with it (`high`)."""

    way: Array
    low: float
    high: float

    @classmethod
    def between(cls, way: Array, without: Array, with_it: Array) -> Self:
        """From the mean place of some pictures (N, K) to that of others."""
        return cls(way, float((without @ way).mean()), float((with_it @ way).mean()))

    def shown(self, places: Array) -> Array:
        """How much each picture shows the tag, 0 … 1, (N,); `places` (N, K) is how near it comes to each visual word."""
        return np.clip((places @ self.way - self.low) / (self.high - self.low), 0, 1)


@dataclass(frozen=True)
class Taught(Measure):
    """`centres` (K, d) are the visual words; `asked[n]` the tags of the n-th picture's prompt that can be seen.

    `whole` is what the base shows of them: it knows its tags, and a LoRA does well that forgets none.
    """

    centres: Array
    directions: Mapping[str, Direction]
    asked: Sequence[Sequence[str]]
    whole: float = 1.0

    title = "following"
    meaning = (
        "how much of the prompt's tags a picture shows: 1 as the base's pictures, 0 as training pictures without them"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        captions, prompts = ([*map(compared_tags, texts)] for texts in (reference.captions, reference.prompts))
        known = _known(captions, prompts)
        if not known:
            return None
        centres = centres_of(reference.training.patches, WORDS, 12)
        shown = nearest(reference.training.patches, centres)
        directions = {tag: _direction(shown, np.array([tag in caption for caption in captions])) for tag in known}
        asked = [[tag for tag in prompts[prompt] if tag in known] for prompt in reference.prompt_of]
        bare = cls(centres, directions, asked)
        whole = float(np.nanmean(bare(reference.base)))
        return replace(bare, whole=whole) if whole > 0.1 else None

    def __call__(self, seen: Seen) -> Array:
        places = nearest(seen.patches, self.centres)
        shown = {tag: way.shown(places) for tag, way in self.directions.items()}
        means = [
            np.mean([shown[tag][place] for tag in tags]) if tags else np.nan for place, tags in enumerate(self.asked)
        ]
        return np.minimum(np.array(means, dtype=np.float32) / self.whole, 1)


def _known(captions: Sequence[Sequence[str]], prompts: Sequence[Sequence[str]]) -> list[str]:
    """The prompts' tags that enough captions have, and enough have not."""
    counts = {tag: sum(tag in caption for caption in captions) for prompt in prompts for tag in prompt}
    return [tag for tag, count in counts.items() if LEAST <= count <= len(captions) - LEAST]


def _direction(shown: Array, has: Array) -> Direction:
    with_tag, without = shown[has == 1], shown[has == 0]
    spread = np.concatenate([with_tag - with_tag.mean(axis=0), without - without.mean(axis=0)]).std(axis=0)
    way = (with_tag.mean(axis=0) - without.mean(axis=0)) / (spread + np.median(spread)) ** 2
    return Direction.between(way, without, with_tag)

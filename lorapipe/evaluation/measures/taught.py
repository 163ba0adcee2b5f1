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
from numpy.typing import NDArray

from lorapipe.captioning.tags import compared_tags
from lorapipe.evaluation.k_means import centres_of, nearest
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.prompts import LEAST
from lorapipe.evaluation.results import TagEffect

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen

WORDS = 96
TOLD, APART = 0.97, 0.6
"""A direction is sure if of two pictures that it was not made of, one with the tag, it puts that higher so often (the area
under the ROC curve), and so far apart in the mean, of the 1 between the pictures that it was made of."""


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

    def along(self, places: Array) -> Array:
        """Each picture's place between without (0) and with (1), and beyond, (N,); `places` (N, K): see `shown`."""
        found: Array = (places @ self.way - self.low) / (self.high - self.low)
        return found

    def shown(self, places: Array) -> Array:
        """How much each picture shows the tag, 0 … 1, (N,); `places` (N, K) is how near it comes to each visual word."""
        return np.clip(self.along(places), 0, 1)


@dataclass(frozen=True)
class Taught(Measure):
    """`centres` (K, d) are the visual words; `asked[n]` the tags of the n-th picture's prompt that can be seen.

    `whole` is what the base shows of them: it knows its tags, and a LoRA does well that forgets none. `sure` are the tags
    whose direction can be relied on, and how many captions have them.
    """

    centres: Array
    directions: Mapping[str, Direction]
    asked: Sequence[Sequence[str]]
    sure: Mapping[str, int]
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
        has = {tag: np.array([tag in caption for caption in captions]) for tag in known}
        directions = {tag: _direction(shown, each) for tag, each in has.items()}
        asked = [[tag for tag in prompts[prompt] if tag in known] for prompt in reference.prompt_of]
        sure = {tag: int(each.sum()) for tag, each in has.items() if _tells(shown, each)}
        bare = cls(centres, directions, asked, sure)
        whole = float(np.nanmean(bare(reference.base)))
        return replace(bare, whole=whole) if whole > 0.1 else None

    def __call__(self, seen: Seen) -> Array:
        places = nearest(seen.patches, self.centres)
        shown = {tag: way.shown(places) for tag, way in self.directions.items()}
        means = [
            np.mean([shown[tag][place] for tag in tags]) if tags else np.nan for place, tags in enumerate(self.asked)
        ]
        return np.minimum(np.array(means, dtype=np.float32) / self.whole, 1)

    def effects(self, seen: Seen) -> dict[str, TagEffect]:
        """What each sure tag does to a cell's pictures; those that two pictures ask for, and two do not."""
        places = nearest(seen.patches, self.centres)
        found = {}
        for tag, captions in self.sure.items():
            ours = np.array([tag in tags for tags in self.asked])
            with_tag, without = (self.directions[tag].along(places[which]) for which in (ours, ~ours))
            if min(len(with_tag), len(without)) >= 2:
                error = sum(float(each.var(ddof=1)) / len(each) for each in (with_tag, without)) ** 0.5
                found[tag] = TagEffect(float(with_tag.mean() - without.mean()), error, captions)
        return found


def _known(captions: Sequence[Sequence[str]], prompts: Sequence[Sequence[str]]) -> list[str]:
    """The prompts' tags that enough captions have, and enough have not."""
    counts = {tag: sum(tag in caption for caption in captions) for prompt in prompts for tag in prompt}
    return [tag for tag, count in counts.items() if LEAST <= count <= len(captions) - LEAST]


def _direction(shown: Array, has: NDArray[np.bool_]) -> Direction:
    with_tag, without = shown[has], shown[~has]
    spread = np.concatenate([with_tag - with_tag.mean(axis=0), without - without.mean(axis=0)]).std(axis=0)
    way = (with_tag.mean(axis=0) - without.mean(axis=0)) / (spread + np.median(spread)) ** 2
    return Direction.between(way, without, with_tag)


def _tells(shown: Array, has: NDArray[np.bool_]) -> bool:
    """Whether a tag's direction tells each picture's side if it is made without that picture."""
    others = ~np.eye(len(has), dtype=bool)
    along = [_direction(shown[rest], has[rest]).along(shown[place]) for place, rest in enumerate(others)]
    with_tag, without = np.array(along)[has], np.array(along)[~has]
    higher = (with_tag[:, None] > without[None, :]).mean()
    return bool(higher >= TOLD and with_tag.mean() - without.mean() >= APART)

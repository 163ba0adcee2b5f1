"""How much of what a prompt asks for a picture shows, of the tags that the captions taught.

A tag that some captions have and others have not is a direction in the base's features: the mean of the pictures with it
minus that of the pictures without. A picture's place on it, 0 as those without and 1 as those with, says whether the tag
is there, in the drawing and on the subject that the training is about. A direction fits the pictures that it was made of
better than others, the more so the fewer they are: so the scale is what each training picture reaches where it is left out,
and a tag weighs as much as that tells (the correction for attenuation: Spearman 1904). It is a linear discriminant with
shrunken, diagonal covariance (Dudoit et al. 2002, JASA 97) on how near a picture's places come to each of a set of visual
words, of large places alone: smaller ones tell tags no better, by planted trainings and drawings with known tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from lorapipe.captioning.tags import compared_tags
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.prompts import LEAST
from lorapipe.evaluation.results import TagEffect
from lorapipe.evaluation.visual_words import VisualWords

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen

LEAST_TOLD = 0.4
"""A prompt whose tags are told less, in all, by pictures that are left out says nothing of what a picture shows."""
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
class Told:
    """How far training pictures are on a tag's direction where they are left out: the mean of those without the tag, `low`,
    and of those with it, `high`, 0 … 1; `sure` is whether that can be relied on."""

    low: float
    high: float
    sure: bool

    @classmethod
    def by(cls, shown: Array, has: NDArray[np.bool_]) -> Self:
        """By directions made without one picture, of that picture; `has` (N,) says which pictures have the tag."""
        others = ~np.eye(len(has), dtype=bool)
        along = np.array([
            _direction(shown[rest], has[rest]).along(shown[place]) for place, rest in enumerate(others)
        ])  # fmt: skip
        with_tag, without = along[has], along[~has]
        higher = (with_tag[:, None] > without[None, :]).mean()
        sure = bool(higher >= TOLD and with_tag.mean() - without.mean() >= APART)
        low, high = (float(np.clip(each, 0, 1).mean()) for each in (without, with_tag))
        return cls(low, high, sure)

    @property
    def apart(self) -> float:
        """How much the direction tells: 0 nothing, 1 all."""
        return max(self.high - self.low, 0.0)


@dataclass(frozen=True)
class Taught(Measure):
    """`words` are K visual words; `asked[n]` the tags of the n-th picture's prompt that can be seen.

    `told` is how well each tag's direction tells, `captions` how many captions have the tag.
    """

    words: VisualWords
    directions: Mapping[str, Direction]
    asked: Sequence[Sequence[str]]
    told: Mapping[str, Told]
    captions: Mapping[str, int]

    title = "following"
    meaning = (
        "how much of the prompt's tags a picture shows: 1 as training pictures with them, 0 as those without, each "
        "left out of what is learnt of a tag"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        captions, prompts = ([*map(compared_tags, texts)] for texts in (reference.captions, reference.prompts))
        known = _known(captions, prompts)
        if not known:
            return None
        words = VisualWords.of_large(reference.training)
        shown = words(reference.training)
        has = {tag: np.array([tag in caption for caption in captions]) for tag in known}
        directions = {tag: _direction(shown, each) for tag, each in has.items()}
        told = {tag: Told.by(shown, each) for tag, each in has.items()}
        asked = [[tag for tag in prompts[prompt] if tag in known] for prompt in reference.prompt_of]
        bare = cls(words, directions, asked, told, {tag: int(each.sum()) for tag, each in has.items()})
        return bare if any(map(bare._tells, asked)) else None

    @property
    def sure(self) -> dict[str, int]:
        """The tags whose direction can be relied on, and how many captions have them."""
        return {tag: self.captions[tag] for tag, each in self.told.items() if each.sure}

    def __call__(self, seen: Seen) -> Array:
        places = self.words(seen)
        shown = {tag: way.shown(places) - self.told[tag].low for tag, way in self.directions.items()}
        found = np.full(len(seen), np.nan, dtype=np.float32)
        for place, tags in enumerate(self.asked):
            if whole := self._tells(tags):
                found[place] = sum(self.told[tag].apart * shown[tag][place] for tag in tags) / whole
        return found

    def _tells(self, tags: Sequence[str]) -> float:
        """What pictures with all these tags would reach, each weighed by how much it is told; 0 where that is too little."""
        if sum(self.told[tag].apart for tag in tags) < LEAST_TOLD:
            return 0.0
        return sum(self.told[tag].apart ** 2 for tag in tags)

    def effects(self, seen: Seen) -> dict[str, TagEffect]:
        """What each sure tag does to a cell's pictures; those that two pictures ask for, and two do not."""
        places = self.words(seen)
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

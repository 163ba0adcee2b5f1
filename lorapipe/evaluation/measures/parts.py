"""How much of the subject a picture shows: which of its parts have a place in the picture that looks like them.

Features of the base's denoiser (DIFT: Tang et al. 2023, arXiv:2306.03881) match where two pictures show the same part.
All places of all training pictures are grouped by k-means. A group is a part of the subject as far as most training
pictures come nearer to its centre than the base's pictures of their captions, in standard deviations (Fisher's criterion):
scenes and clothes change and the subject does not, and what every picture has tells nothing of it. (The base's pictures of
the prompts stand in where captions hardly differ; they are of fewer texts, and weigh groups by what chance keeps from
these.) What captions name is learnt with their words and is not the subject: a group counts by what no tag explains of how
near pictures come to it (1 − r², the coefficient of determination). Where a picture has few places, smaller ones are
grouped as well (`Seen.fine`): a thing in a hand is less than one large place.

A picture's nearest place to a part is held against those of the training pictures, each left out in its turn: how likely
would one of them come no nearer (the upper tail of a normal distribution)? The figure is the mean over the parts, as a
share of what the training pictures themselves reach. The share of parts that come within a bound would be full at half
of the likeness; a probability still rises where a picture is nearly there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.captioning.tags import compared_tags
from lorapipe.evaluation.k_means import centres_of, nearest, squares
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.prompts import LEAST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorapipe.evaluation.features import Array, Seen

GROUPS, PLACES = 256, 12
"""So many groups at most, and one for so many places: a thing of a few places is lost in a larger one."""
STRICT = 0.5
"""Standard deviations that a picture has to be nearer than the training pictures' mean to be as likely as not."""
MOST_COME = 0.75
"""The share of training pictures that must come nearer to a part than the base's usual picture: scenes that chance keeps
out of the base's few pictures are in few of the training's."""
MOST = 1.25
"""The highest figure of one picture; some are nearer than the mean training picture, and means balance out."""


@dataclass(frozen=True)
class Groups:
    """Groups of places of one size: `centres` (K, d), and by group (K,) the mean `distance` of the training pictures, its
    `spread`, and how much it tells the subject from the base's pictures (`weight`). `ours` (N, K) are the distances."""

    centres: Array
    distance: Array
    spread: Array
    weight: Array
    ours: Array

    @classmethod
    def fit(cls, training: Sequence[Array], base: Sequence[Array], tags: Array) -> Self:
        """Group the places of the training pictures; those of the base's pictures are what the subject is not.

        `tags` (N, T) is 1 where a training picture's caption has a tag.
        """
        centres = centres_of(training, GROUPS, PLACES)
        ours, other = _left_out(training, centres), nearest(base, centres)
        gap = np.maximum(np.median(other, axis=0) - np.quantile(ours, MOST_COME, axis=0), 0)
        apart = gap / (ours.std(axis=0) + other.std(axis=0) + 1e-9)
        weight = (apart * (1 - _explained(ours, tags))) ** 2
        return cls(centres, ours.mean(axis=0), ours.std(axis=0) + 1e-3, weight, ours)

    def likelihood(self, distance: Array) -> Array:
        """How likely training pictures come no nearer to each group, (N, K), weighted; from squared distances (N, K)."""
        return _normal((self.distance - distance) / self.spread - STRICT) * self.weight


@dataclass(frozen=True)
class Parts(Measure):
    """The groups of places, large ones and small ones; `whole` is what the training pictures themselves reach."""

    title = "subject"
    meaning = "how much of the subject a picture shows: 1 as much as the training pictures, 0 none of its parts"

    large: Groups
    small: Groups | None
    whole: float

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        training, base = reference.training, reference.captioned or reference.base
        if len(training) < 3:
            return None
        tags = _tags(reference.captions)
        large = Groups.fit(training.patches, base.patches, tags)
        small = Groups.fit(training.fine, base.fine, tags) if all(map(len, (*training.fine, *base.fine))) else None
        whole = _summed([each.likelihood(each.ours) for each in (large, small) if each]).mean()
        return cls(large, small, float(whole)) if whole else None

    def __call__(self, seen: Seen) -> Array:
        levels = ((self.large, seen.patches), (self.small, seen.fine))
        found = [groups.likelihood(nearest(places, groups.centres)) for groups, places in levels if groups]
        return np.minimum(_summed(found) / self.whole, MOST)


def _tags(captions: Sequence[str]) -> Array:
    """Which captions (N) have which tags (T): those that some have, and some have not."""
    said = [{*compared_tags(each)} for each in captions]
    every = np.array([[tag in each for tag in sorted(set().union(*said))] for each in said], dtype=np.float32)
    count = every.sum(axis=0)
    found: Array = every[:, (count >= LEAST) & (count <= len(said) - LEAST)]
    return found


def _explained(distances: Array, tags: Array) -> Array:
    """How much of the distances' variance the tag explains that brings pictures nearest, by group, (K,), 0 … 1.

    Less what the best of so many tags explains by chance: the median of all groups.
    """
    if not tags.shape[1]:
        return np.zeros(distances.shape[1], np.float32)
    said, far = (
        (each - each.mean(axis=0)) / (np.linalg.norm(each - each.mean(axis=0), axis=0) + 1e-9)
        for each in (tags, distances)
    )
    share = np.minimum((said.T @ far).min(axis=0), 0) ** 2
    chance = np.median(share)
    found: Array = np.maximum(share - chance, 0) / (1 - chance + 1e-9)
    return found


def _summed(likelihoods: Sequence[Array]) -> Array:
    """The sum over all groups, (N,)."""
    found: Array = np.concatenate(likelihoods, axis=1).sum(axis=1).astype(np.float32)
    return found


def _normal(values: Array) -> Array:
    """The normal distribution's probability of a value no larger."""
    return np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)), otypes=[np.float32])(values)


def _left_out(training: Sequence[Array], centres: Array) -> Array:
    """How near each picture comes to each centre, (N, K), if the centre is made without its own places.

    A centre that a picture has helped to make is nearer to it than to a new picture, the more so the fewer there are.
    """
    groups = [squares(each, centres).argmin(axis=1) for each in training]
    places = range(len(centres))
    pairs = list(zip(training, groups, strict=True))
    sums = np.stack([[each[group == place].sum(axis=0) for place in places] for each, group in pairs])
    counts = np.stack([np.bincount(group, minlength=len(centres)) for group in groups])
    found = []
    for picture, each in enumerate(training):
        others = counts.sum(axis=0) - counts[picture]
        without = (sums.sum(axis=0) - sums[picture]) / np.maximum(others, 1)[:, None]
        without[others == 0] = centres[others == 0]
        found.append(squares(each, without.astype(np.float32)).min(axis=0))
    return np.stack(found)

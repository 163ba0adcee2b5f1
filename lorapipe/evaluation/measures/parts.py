"""How much of the subject a picture shows: which of its parts have a place in the picture that looks like them.

Features of the base's denoiser (DIFT: Tang et al. 2023, arXiv:2306.03881) match where two pictures show the same part.
All places of all training pictures are grouped by k-means.
A group that most pictures have is a part of the subject, since scenes and clothes change and the subject does not. A
picture has a part if one of its places is as near to the group's centre as in nine of ten training pictures, each left
out in its turn.

A part counts the less the more of the base's pictures have it: what every picture has tells nothing of the subject. The
figure is the geometric mean of the share of the parts that a picture has, which is sharp where they are many, and of how far
its nearest places have come on the way from the base's pictures to the training pictures, which sees a small thing too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.k_means import centres_of, nearest, squares
from lorapipe.evaluation.measures import Measure, Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorapipe.evaluation.features import Array, Seen

GROUPS = 48
COMMON = 0.6
"""A group in this share of the training pictures is a part of the subject."""
NEAR = 0.9
"""A place is near enough if it is nearer than the nearest places of a tenth of the training pictures."""


@dataclass(frozen=True)
class Parts(Measure):
    """`centres` (K, d); by part (K,): `near` the largest squared distance at which a picture has it, `share` what it counts;
    `usual` the base's middle distance, `gap` how much nearer the training pictures are, `weight` what that counts.
    """

    title = "subject"
    meaning = "the share of the subject's parts that a picture shows: 1 as many as the training pictures, 0 none"

    centres: Array
    near: Array
    share: Array
    usual: Array
    gap: Array
    weight: Array

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        training = reference.training.patches
        if len(training) < 3:
            return None
        every = np.concatenate(training)
        owner = np.repeat(np.arange(len(training)), [len(each) for each in training])
        centres = centres_of(training, GROUPS, 16)
        group = squares(every, centres).argmin(axis=1)
        shares = [len(np.unique(owner[group == place])) / len(training) for place in range(len(centres))]
        centres = centres[np.array(shares) >= COMMON]
        if not len(centres):
            return None
        ours, base = _left_out(training, centres), nearest(reference.base.patches, centres)
        near = np.quantile(ours, NEAR, axis=0)
        had = (base <= near).mean(axis=0)
        if (1 - had).sum() < 0.5:
            return None
        usual = np.median(base, axis=0)
        gap = np.maximum(usual - np.median(ours, axis=0), 0)
        share, weight = (1 - had) ** 2, (gap / (ours.std(axis=0) + base.std(axis=0) + 1e-9)) ** 2
        if not weight.sum():
            return None
        arrays = (near, share / share.sum(), usual, np.maximum(gap, 1e-6), weight / weight.sum())
        return cls(centres, *(each.astype(np.float32) for each in arrays))

    def __call__(self, seen: Seen) -> Array:
        distance = nearest(seen.patches, self.centres)
        shown = np.minimum((distance <= self.near).astype(np.float32) @ self.share / NEAR, 1)
        way = np.clip((self.usual - distance) / self.gap, 0, 1) @ self.weight
        found: Array = np.sqrt(shown * way)
        return found


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

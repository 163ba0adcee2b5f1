"""Visual words: how near a picture comes to each of a set of things that places of pictures look like. No torch.

Places of some pictures are grouped by k-means, and a picture is described by how near its nearest place comes to each
centre (Sivic & Zisserman 2003), so that a small thing counts as much as a large one. Where a picture has few places,
smaller ones make words of their own (`Seen.fine`): a hat is less than one large place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.k_means import centres_of, nearest

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen

MOST, PLACES = 96, 12
"""So many words of places of one size at most, and one for so many places."""


@dataclass(frozen=True)
class VisualWords:
    """Centres (K, d) of large places, and (K', e) of small ones, where there are any."""

    large: Array
    small: Array | None = None

    @classmethod
    def of(cls, *groups: Seen) -> Self:
        """The words of some groups of pictures."""
        fine = [places for seen in groups for places in seen.fine]
        small = centres_of(fine, MOST, PLACES) if all(map(len, fine)) else None
        return cls(cls.of_large(*groups).large, small)

    @classmethod
    def of_large(cls, *groups: Seen) -> Self:
        """The words of large places alone."""
        return cls(centres_of([places for seen in groups for places in seen.patches], MOST, PLACES))

    def __call__(self, seen: Seen) -> Array:
        """How near each picture comes to each word, (N, K + K')."""
        near = nearest(seen.patches, self.large)
        return near if self.small is None else np.concatenate([near, nearest(seen.fine, self.small)], axis=1)

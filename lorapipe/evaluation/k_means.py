"""k-means over the places of pictures (Lloyd 1982; seeded as k-means++: Arthur & Vassilvitskii 2007). No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array

MOST_PLACES = 12_288
"""Places that groups are made of, evenly chosen where there are more."""
LEAST, ROUNDS = 8, 12


def centres_of(patches: Sequence[Array], most: int, places: int) -> Array:
    """Centres (K, d) of the patches of all pictures: one for so many `places`, `LEAST` to `most` of them."""
    every = np.concatenate(patches)
    chosen = np.linspace(0, len(every) - 1, min(len(every), MOST_PLACES)).astype(int)
    return k_means(every[chosen], min(most, max(LEAST, len(chosen) // places)))


def k_means(points: Array, count: int) -> Array:
    """Centres (count, d) of groups of points (N, d)."""
    rng = np.random.default_rng(0)
    centres = points[rng.integers(len(points))][None]
    least = squares(points, centres)[:, 0]
    for _ in range(count - 1):
        chance = least / least.sum() if least.sum() > 0 else None
        centres = np.concatenate([centres, points[rng.choice(len(points), p=chance)][None]])
        least = np.minimum(least, squares(points, centres[-1:])[:, 0])
    for _ in range(ROUNDS):
        group = squares(points, centres).argmin(axis=1)
        means = [
            points[group == place].mean(axis=0) if (group == place).any() else centres[place] for place in range(count)
        ]
        centres = np.stack(means)
    return centres


def squares(points: Array, centres: Array) -> Array:
    """Squared distances (N, K)."""
    found: Array = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.maximum(found, 0)


def nearest(patches: Sequence[Array], centres: Array) -> Array:
    """The squared distance of each picture's nearest place to each centre, (N, K)."""
    return np.stack([squares(each, centres).min(axis=0) for each in patches])

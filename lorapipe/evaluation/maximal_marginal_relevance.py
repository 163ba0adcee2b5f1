"""Chooses pictures that are good and differ from one another. Arithmetic on figures and feature vectors alone.

The choice is greedy, as in maximal marginal relevance (Carbonell & Goldstein 1998, SIGIR): the best picture first, then
always the one whose merit, lessened by how near it is to one that is chosen already, is the highest. Distances count up to
the middle one among all pictures: beyond that, two pictures simply differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array

NOVELTY = 0.7
"""What being different counts, beside 1 − this for the merit alone (1 − λ of Carbonell & Goldstein)."""
STAND_OUT = 3.5
"""Modified z-score beyond which a picture stands out (Iglewicz & Hoaglin 1993)."""
CONSISTENCY = 0.6745
"""The normal distribution's third quartile, which makes a median absolute deviation a standard deviation."""
FEWEST = 4
"""Among fewer pictures none can stand out."""


def choose(merits: Sequence[float], vectors: Array, count: int, groups: Sequence[str] = ()) -> list[int]:
    """Return the indices of up to `count` pictures, the first chosen first; those of merit 0 are never chosen.

    `vectors` (N, d) are the pictures' features, alike where the pictures are. `groups` are what they are of: no group has
    more than its share, unless others have no more pictures.
    """
    left = [place for place, merit in enumerate(merits) if merit > 0]
    if not left:
        return []
    apart = distances(vectors)
    usual = float(np.median(apart[np.triu_indices(len(apart), 1)])) if len(apart) > 1 else 0.0
    chosen: list[int] = []

    def value(place: int) -> float:
        nearest = min((float(apart[place, other]) for other in chosen), default=usual)
        novelty = min(1.0, nearest / usual) if usual else 1.0
        return merits[place] * (1 - NOVELTY + NOVELTY * novelty)

    of = groups or [""] * len(merits)
    share = ceil(count / len({of[place] for place in left}))
    while left and len(chosen) < count:
        had = Counter(of[place] for place in chosen)
        best = max(left, key=lambda place: (had[of[place]] < share, value(place)))
        chosen.append(best)
        left.remove(best)
    return chosen


def stand_outs(vectors: Array) -> set[int]:
    """Return the indices of pictures that are much further from the others than these are from each other.

    A picture's distance is the median of those to the others; it stands out by its modified z-score.
    """
    if len(vectors) < FEWEST:
        return set()
    apart = distances(vectors)
    away = np.array([np.median(np.delete(row, place)) for place, row in enumerate(apart)])
    middle = float(np.median(away))
    deviation = max(float(np.median(np.abs(away - middle))), 0.05 * middle, 1e-9)
    return {int(place) for place in np.flatnonzero(CONSISTENCY * (away - middle) / deviation > STAND_OUT)}


def distances(vectors: Array) -> Array:
    """Return the distances (N, N) of feature vectors (N, d), each feature in its standard deviations."""
    scaled = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-9)
    squares = np.square(scaled).sum(axis=1)
    found: Array = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * scaled @ scaled.T, 0))
    return found

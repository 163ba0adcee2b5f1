"""Which painted picture comes nearest to each training picture, by the latents that `measures.copies` compares too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lorapipe.evaluation.metrics import distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorapipe.evaluation.features import Array

SHOWN = 6
"""So many training pictures are shown beside their nearest."""


@dataclass(frozen=True)
class NearestPicture:
    """A training picture and the nearest painted one, by index, and how far their latents are apart (root mean square)."""

    training: int
    painted: int
    distance: float


def nearest_pictures(training: Sequence[Array], painted: Sequence[Array], most: int = SHOWN) -> list[NearestPicture]:
    """The training pictures that a painted one comes nearest to, the nearest first, each training picture once.

    Entries are latents (C · h · w); those of different sizes are not compared. Empty where no sizes are alike.
    """
    found = []
    for place, latent in enumerate(training):
        beside = {other: distance(latent, each) for other, each in enumerate(painted) if each.shape == latent.shape}
        beside = {other: far for other, far in beside.items() if np.isfinite(far)}
        if beside:
            other = min(beside, key=lambda each: beside[each])
            found.append(NearestPicture(place, other, beside[other]))
    return sorted(found, key=lambda each: (each.distance, each.training))[:most]

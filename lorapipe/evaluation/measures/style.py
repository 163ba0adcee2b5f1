"""How much a picture is drawn as the training pictures are: Gram matrices of shallow features, which know texture.

Products of features over all places of a picture, whatever lies where, are its style (Gatys et al. 2016, CVPR, eq. 3 and
4). Here the features are those of the denoiser's first block. Each product is measured in its standard deviations among
the training pictures, and the distance to their mean is put on a scale from the base's pictures to the training pictures
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.measures import Measure, Reference

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen


@dataclass(frozen=True)
class Style(Measure):
    """`middle` and `spread` (g,) of the training pictures' Grams; distances `far` of the base, `near` of themselves."""

    middle: Array
    spread: Array
    far: float
    near: float

    title = "style"
    meaning = (
        "how near a picture's texture is to the training pictures': 1 as they are, 0 as far as the base's pictures"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        if len(reference.training) < 3:
            return None
        grams = np.stack(reference.training.grams)
        middle, spread = grams.mean(axis=0), grams.std(axis=0, ddof=1)
        spread = spread + 0.1 * spread.mean() + 1e-9
        near = float(np.median(_distances(grams, middle, spread)))
        far = float(np.median(_distances(np.stack(reference.base.grams), middle, spread)))
        return cls(middle, spread, far, near) if far > 1.15 * near else None

    def __call__(self, seen: Seen) -> Array:
        distance = _distances(np.stack(seen.grams), self.middle, self.spread)
        return np.clip((self.far - distance) / (self.far - self.near), 0, 1).astype(np.float32)


def _distances(grams: Array, middle: Array, spread: Array) -> Array:
    found: Array = np.sqrt((((grams - middle) / spread) ** 2).mean(axis=1))
    return found

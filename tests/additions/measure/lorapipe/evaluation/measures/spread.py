"""How much there is in a picture: the spread of what the base sees in its places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.measures import Measure, Reference

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen


@dataclass(frozen=True)
class Spread(Measure):
    """`usual` is the mean of the training pictures."""

    usual: float

    title = "spread"
    meaning = "how much differs from place to place of a picture: 1 as in the training pictures, 0 nothing"

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        usual = float(np.mean([patches.std(axis=0).mean() for patches in reference.training.patches]))
        return cls(usual) if usual > 0 else None

    def __call__(self, seen: Seen) -> Array:
        return np.array([patches.std(axis=0).mean() / self.usual for patches in seen.patches], dtype=np.float32)

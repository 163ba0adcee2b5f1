"""What is wrong with a picture whatever it shows: noise, burnt or washed-out colours, hard or dull contrast.

Noise, saturation and contrast (`metrics.looks`) are each held against what the training pictures and the base's have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.measures import Measure, Reference

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen


@dataclass(frozen=True)
class Artefacts(Measure):
    """`low` and `high` (3,): what noise, saturation and contrast of sound pictures lie between."""

    low: Array
    high: Array

    title = "artefacts"
    meaning = (
        "0 noise, saturation and contrast as the training pictures or the base's have them, 1 twice as much or half"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        both = [*reference.training.looks, *reference.base.looks]
        low, high = np.quantile(np.stack(both), (0.02, 0.98), axis=0)
        return cls(low.astype(np.float32), high.astype(np.float32))

    def __call__(self, seen: Seen) -> Array:
        found = np.stack(seen.looks) + 1e-6
        beyond = np.maximum(np.log2(found / (self.high + 1e-6)), np.log2((self.low + 1e-6) / found))
        beyond[:, 0] = np.log2(found[:, 0] / (self.high[0] + 1e-6))  # a smooth picture is none that is wrong
        return np.clip(beyond.max(axis=1), 0, 1).astype(np.float32)

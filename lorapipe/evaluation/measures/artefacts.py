"""What is wrong with a picture whatever it shows: noise, burnt or washed-out colours, hard or dull contrast.

Noise is estimated by a difference of Laplacians, which cancels edges (Immerkær 1996, CVIU 64 (2)); saturation is mean
chroma, contrast the standard deviation of luma (Peli 1990). Each is held against what the training pictures and the
base's have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.metrics import chroma

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.features import Array, Seen

MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
"""Immerkær's: the difference of two Laplacians."""
LOOKS = ("noise", "saturation", "contrast")


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
        both = [looks(picture) for picture in (*reference.training.pictures, *reference.base.pictures)]
        low, high = np.quantile(np.stack(both), (0.02, 0.98), axis=0)
        return cls(low.astype(np.float32), high.astype(np.float32))

    def __call__(self, seen: Seen) -> Array:
        found = np.stack([looks(picture) for picture in seen.pictures]) + 1e-6
        beyond = np.maximum(np.log2(found / (self.high + 1e-6)), np.log2((self.low + 1e-6) / found))
        beyond[:, 0] = np.log2(found[:, 0] / (self.high[0] + 1e-6))  # a smooth picture is none that is wrong
        return np.clip(beyond.max(axis=1), 0, 1).astype(np.float32)


def looks(picture: Image) -> Array:
    """Noise, saturation and contrast of a picture, each 0 … 1, (3,)."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    high, wide = luma.shape
    response = sum(
        MASK[row, column] * luma[row : high - 2 + row, column : wide - 2 + column]
        for row in range(3)
        for column in range(3)
    )
    noise = np.sqrt(np.pi / 2) / 6 * np.median(np.abs(response)) / 0.6745 * np.sqrt(2 / np.pi)
    return np.array([noise, chroma(pixels), luma.std()], dtype=np.float32)

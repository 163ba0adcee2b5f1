"""Whether a picture is a copy: its latent is far nearer to one training picture than to the others.

A memorised picture is much nearer to its original than to the next ones (Carlini et al. 2023, arXiv:2301.13188, §4.2, who
compare the distance to the nearest with that to the next n in the same way). The scale is what the training pictures are
to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.metrics import distance

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen

COPY = 0.5
"""A picture with this figure or more is called a copy."""


@dataclass(frozen=True)
class Copies(Measure):
    """`latents` of the training pictures; `usual` is the least share of nearest to middle distance among them."""

    latents: Sequence[Array]
    usual: float

    title = "copy"
    meaning = (
        "0 a picture no nearer to one training picture than those are to each other, 1 the training picture itself"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        latents = reference.training.latents
        shares = [_share(each, [*latents[:place], *latents[place + 1 :]]) for place, each in enumerate(latents)]
        found = [share for share in shares if np.isfinite(share)]
        return cls(latents, max(float(np.quantile(found, 0.1)), 1e-3)) if len(found) >= 3 else None

    def __call__(self, seen: Seen) -> Array:
        shares = np.array([_share(each, self.latents) for each in seen.latents], dtype=np.float32)
        return np.clip(1 - shares / self.usual, 0, 1)


def _share(latent: Array, others: Sequence[Array]) -> float:
    """The distance to the nearest as a share of the middle one; NaN where fewer than two are of the same size."""
    distances = [distance(latent, other) for other in others if other.shape == latent.shape]
    middle = float(np.median(distances)) if len(distances) > 1 else 0.0
    return min(distances) / middle if middle > 0 else float("nan")

"""Whether a picture is a copy: its latent is far nearer to one training picture than to the others.

A memorised picture is much nearer to its original than to the next ones (Carlini et al. 2023, arXiv:2301.13188, §4.2, who
compare the distance to the nearest with that to the next n in the same way). The scale is what the training pictures are
to each other. Views of one or two pictures do not tell that: then it is how far the base's own pictures of the captions are
from them.
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
FEW = 0.6
"""Where there are one or two training pictures: the share of the way to the base's own from which a picture is no nearer
than another one of the subject. The same drawing in another scene has 0.4 to 0.6 of it, the training picture again 0.2."""


@dataclass(frozen=True)
class Copies(Measure):
    """`latents` of the training pictures; `usual` is the least share of nearest to middle distance among them. With `apart`,
    the distance of the base's pictures, shares are of that.
    """

    latents: Sequence[Array]
    usual: float
    apart: float | None = None

    title = "copy"
    meaning = (
        "0 a picture no nearer to one training picture than those are to each other, 1 the training picture itself"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        latents = reference.training.latents
        if reference.few:
            apart = [away[0] for each in reference.base.latents if (away := _distances(each, latents))]
            return cls(latents, FEW, float(np.median(apart))) if apart else None
        shares = [_share(each, [*latents[:place], *latents[place + 1 :]]) for place, each in enumerate(latents)]
        found = [share for share in shares if np.isfinite(share)]
        return cls(latents, max(float(np.quantile(found, 0.1)), 1e-3)) if len(found) >= 3 else None

    def __call__(self, seen: Seen) -> Array:
        shares = np.array([_share(each, self.latents, self.apart) for each in seen.latents], dtype=np.float32)
        return np.clip(1 - shares / self.usual, 0, 1)


def _share(latent: Array, others: Sequence[Array], apart: float | None = None) -> float:
    """The distance to the nearest as a share of the middle one or of `apart`; NaN where fewer than two are of one size."""
    distances = _distances(latent, others)
    if len(distances) < 2:
        return float("nan")
    whole = float(np.median(distances)) if apart is None else apart
    return distances[0] / whole if whole > 0 else float("nan")


def _distances(latent: Array, others: Sequence[Array]) -> list[float]:
    """The distances to those of the same size, the nearest first."""
    return sorted(distance(latent, other) for other in others if other.shape == latent.shape)

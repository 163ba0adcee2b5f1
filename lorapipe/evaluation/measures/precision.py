"""How little of a picture is unlike anything that the training pictures or the base show: what `parts` does not see.

`parts` asks whether a picture has the subject's parts, and is content with one place for each, whatever else is there: what
is too strong paints them twice, smears them or lets them bleed into the scene. This asks the other way round, place by
place, as precision does beside recall (Kynkäänniemi et al. 2019, arXiv:1904.06991): how far is it from the nearest thing
that is known? What is known are groups of places, by k-means, of all training pictures and of the base's pictures of the
prompts and captions, so that a scene is known which no training picture has. One subject's pictures are alike and the
base's are not, so the training pictures come nearer to the groups; where they do not, this says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.evaluation.k_means import centres_of, squares
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.measures.parts import GROUPS, MOST, PLACES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorapipe.evaluation.features import Array, Seen

APART = 0.25
"""The training pictures must come nearer than the base's by this share of both standard deviations."""


@dataclass(frozen=True)
class Precision(Measure):
    """`centres` (K, d) are what is known; `training` and `base` how far their pictures are from it on the average."""

    title = "precision"
    meaning = (
        "how near a picture's places come to what the training pictures or the base show: 1 as the training pictures', 0 as "
        "the base's or worse"
    )

    centres: Array
    training: float = 0.0
    base: float = 0.0

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        ours = reference.training.patches
        if len(ours) < 3 or reference.few:
            return None
        others = [*reference.base.patches, *(reference.captioned.patches if reference.captioned else ())]
        bare = cls(centres_of([*ours, *others], GROUPS, PLACES))
        training, base = bare._distances(ours), bare._distances(others)
        if base.mean() - training.mean() <= APART * (base.std() + training.std()):
            return None
        return replace(bare, training=float(training.mean()), base=float(base.mean()))

    def __call__(self, seen: Seen) -> Array:
        nearer = (self.base - self._distances(seen.patches)) / (self.base - self.training)
        found: Array = np.clip(nearer, 0, MOST).astype(np.float32)
        return found

    def _distances(self, patches: Sequence[Array]) -> Array:
        """How far the places of each picture are from the nearest centre, squared and on the average, (N,)."""
        return np.array([squares(places, self.centres).min(axis=1).mean() for places in patches])

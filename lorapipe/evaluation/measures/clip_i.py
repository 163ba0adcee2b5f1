"""CLIP-I on a scale: how similar pictures are to the training pictures for a CLIP model that the user names.

The mean cosine to the training pictures (Ruiz et al. 2023, arXiv:2208.12242, §5), from the base's pictures to the
training pictures among themselves. It sees colours and kinds of things, and is highest for an average of the subject: a
second opinion alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from lorapipe.evaluation import metrics
from lorapipe.evaluation.measures import Measure, Reference

if TYPE_CHECKING:
    from lorapipe.evaluation.clip import Clip
    from lorapipe.evaluation.features import Array, Seen


@dataclass(frozen=True)
class ClipI(Measure):
    """`training` are the training pictures' vectors; `low` and `high` the cosines of 0 and 1."""

    clip: Clip
    training: metrics.Vectors
    low: float
    high: float

    title = "CLIP likeness"
    meaning = (
        "CLIP's similarity to the training pictures: 0 the base's pictures, 1 the training pictures to one another"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        if reference.clip is None:
            return None
        training = reference.clip.seen(reference.training)
        scale = metrics.likeness_scale(reference.clip.seen(reference.base), training)
        return None if scale is None else cls(reference.clip, training, *scale)

    def __call__(self, seen: Seen) -> Array:
        similarity = metrics.image_similarity(self.clip.seen(seen), self.training)
        found: Array = (similarity - self.low) / (self.high - self.low)
        return found

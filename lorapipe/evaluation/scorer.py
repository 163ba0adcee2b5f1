"""From pictures to evidence: what a cell's pictures score beside the base's and the training pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lorapipe.evaluation import metrics
from lorapipe.evaluation.results import Look
from lorapipe.evaluation.selection import Scores

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.clip import Clip


@dataclass(frozen=True)
class Measured:
    """A cell's scores (None: no CLIP, or nothing to tell), its look, and the bare similarities, means of its pictures."""

    scores: Scores | None
    look: Look
    broken: bool
    image_similarity: float | None = None
    text_similarity: float | None = None


class Measure:
    """Holds what every cell is compared with. `whose[n]` is the prompt of a cell's n-th picture."""

    def __init__(
        self,
        clip: Clip | None,
        prompts: Sequence[str],
        whose: Sequence[int],
        base: Sequence[Image],
        training: Sequence[Image],
    ) -> None:
        self.clip = clip
        self.whose = whose
        self.likeness: tuple[float, float] | None = None
        self.following: float | None = None
        if clip is not None:
            self._training = clip.pictures(training)
            self._prompts = clip.texts(prompts if len(prompts) > 1 else [*prompts, ""])
            vectors = clip.pictures(base)
            self.likeness = metrics.likeness_scale(vectors, self._training)
            self.following = metrics.following_scale(vectors, self._prompts, whose)
        self.base = self(base)
        self.training = Look(_mean(metrics.saturation, training), _mean(metrics.contrast, training))

    def __call__(self, pictures: Sequence[Image]) -> Measured:
        """The figures of a cell's pictures."""
        broken = any(metrics.blank(picture) for picture in pictures)
        saturation, contrast = _mean(metrics.saturation, pictures), _mean(metrics.contrast, pictures)
        if self.clip is None:
            return Measured(None, Look(saturation, contrast), broken)
        vectors = self.clip.pictures(pictures)
        to_training = metrics.image_similarity(vectors, self._training)
        diversity, copied = metrics.diversity(vectors, self.whose), metrics.copied(vectors, self._training)
        return Measured(
            self._scores(vectors, to_training),
            Look(saturation, contrast, diversity, copied),
            broken,
            float(to_training.mean()),
            float(metrics.text_similarity(vectors, self._prompts, self.whose).mean()),
        )

    def _scores(self, vectors: metrics.Vectors, to_training: metrics.Vectors) -> Scores | None:
        if self.likeness is None:
            return None
        low, high = self.likeness
        likeness = tuple(float(value) for value in (to_training - low) / (high - low))
        if self.following is None:
            return Scores(likeness)
        contrast = metrics.contrast_to_others(vectors, self._prompts, self.whose) / self.following
        return Scores(likeness, tuple(float(value) for value in contrast))


def _mean(measure: Callable[[Image], float], pictures: Sequence[Image]) -> float:
    return float(np.mean([measure(picture) for picture in pictures]))

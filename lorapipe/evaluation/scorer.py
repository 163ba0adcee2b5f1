"""Scores a cell's pictures against the base's pictures and the training pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lorapipe.evaluation import metrics
from lorapipe.evaluation.results import ImageStats
from lorapipe.evaluation.selection import Scores

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.clip import Clip


@dataclass(frozen=True)
class CellScores:
    """A cell's scores (None: no CLIP, or no scale), its image statistics, and its mean CLIP-I and CLIP-T."""

    scores: Scores | None
    image_stats: ImageStats
    broken: bool
    image_similarity: float | None = None
    text_similarity: float | None = None


class Scorer:
    """Scores pictures against the base's and the training pictures. `prompt_of[n]` is the prompt of the n-th picture."""

    def __init__(
        self,
        clip: Clip | None,
        prompts: Sequence[str],
        prompt_of: Sequence[int],
        base: Sequence[Image],
        training: Sequence[Image],
    ) -> None:
        self.clip = clip
        self.prompt_of = prompt_of
        self.likeness: tuple[float, float] | None = None
        self.following: float | None = None
        if clip is not None:
            self._training = clip.pictures(training)
            self._prompts = clip.texts(prompts if len(prompts) > 1 else [*prompts, ""])
            vectors = clip.pictures(base)
            self.likeness = metrics.likeness_scale(vectors, self._training)
            self.following = metrics.following_scale(vectors, self._prompts, prompt_of)
        self.base = self(base)
        self.training = ImageStats(_mean(metrics.saturation, training), _mean(metrics.contrast, training))

    def __call__(self, pictures: Sequence[Image]) -> CellScores:
        """The scores of a cell's pictures."""
        broken = any(metrics.blank(picture) for picture in pictures)
        saturation, contrast = _mean(metrics.saturation, pictures), _mean(metrics.contrast, pictures)
        if self.clip is None:
            return CellScores(None, ImageStats(saturation, contrast), broken)
        vectors = self.clip.pictures(pictures)
        to_training = metrics.image_similarity(vectors, self._training)
        diversity, copied = metrics.diversity(vectors, self.prompt_of), metrics.copied(vectors, self._training)
        return CellScores(
            self._scores(vectors, to_training),
            ImageStats(saturation, contrast, diversity, copied),
            broken,
            float(to_training.mean()),
            float(metrics.text_similarity(vectors, self._prompts, self.prompt_of).mean()),
        )

    def _scores(self, vectors: metrics.Vectors, to_training: metrics.Vectors) -> Scores | None:
        if self.likeness is None:
            return None
        low, high = self.likeness
        likeness = tuple(float(value) for value in (to_training - low) / (high - low))
        if self.following is None:
            return Scores(likeness)
        contrast = metrics.contrast_to_others(vectors, self._prompts, self.prompt_of) / self.following
        return Scores(likeness, tuple(float(value) for value in contrast))


def _mean(measure: Callable[[Image], float], pictures: Sequence[Image]) -> float:
    return float(np.mean([measure(picture) for picture in pictures]))

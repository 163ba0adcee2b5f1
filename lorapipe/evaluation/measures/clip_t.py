"""CLIP-T as a contrast: how much nearer pictures are to their own prompt than to the others, for a CLIP that the user
names.

Bare CLIP-T (Radford et al. 2021; Ruiz et al. 2023, §5) falls for any subject that CLIP has no word for. What moves a
picture towards or away from all prompts alike cancels out in the contrast, whose scale is that of the base's pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from lorapipe.evaluation import metrics
from lorapipe.evaluation.measures import Measure, Reference

if TYPE_CHECKING:
    from lorapipe.evaluation.clip import Clip
    from lorapipe.evaluation.features import Array, Seen


@dataclass(frozen=True)
class ClipT(Measure):
    """`prompts` are the prompts' vectors; `whole` is the base's contrast."""

    clip: Clip
    prompts: metrics.Vectors
    prompt_of: Sequence[int]
    whole: float

    title = "CLIP following"
    meaning = (
        "how much nearer CLIP finds pictures to their own prompt than to the others: 1 as the base's, 0 not at all"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        if reference.clip is None or len(reference.prompts) < 2:
            return None
        prompts, base = reference.clip.texts(reference.prompts), reference.clip.seen(reference.base)
        whole = metrics.following_scale(base, prompts, reference.prompt_of)
        return None if whole is None else cls(reference.clip, prompts, tuple(reference.prompt_of), whole)

    def __call__(self, seen: Seen) -> Array:
        vectors = self.clip.seen(seen)
        found: Array = metrics.contrast_to_others(vectors, self.prompts, self.prompt_of) / self.whole
        return found

"""How different the pictures of one prompt are, beside how different the training pictures are from each other.

A model that has collapsed paints one picture of a prompt from every noise. The distance is that of the latents; a figure
of the training pictures' own variety is what a subject in many scenes has, and a prompt fixes some of that.
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


@dataclass(frozen=True)
class Diversity(Measure):
    """`usual` is the mean distance of two training pictures."""

    usual: float
    prompt_of: Sequence[int]

    title = "diversity"
    meaning = "how different pictures of one prompt are from each other: 1 as the training pictures are, 0 all the same"

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        latents = reference.training.latents
        pairs = [
            distance(latents[first], latents[second])
            for first in range(len(latents))
            for second in range(first)
            if latents[first].shape == latents[second].shape
        ]
        several = len(reference.prompt_of) > len({*reference.prompt_of})
        usual = float(np.mean(pairs)) if pairs else 0.0
        return cls(usual, tuple(reference.prompt_of)) if several and usual > 0 else None

    def __call__(self, seen: Seen) -> Array:
        found = []
        for place, prompt in enumerate(self.prompt_of):
            others = [other for other, each in enumerate(self.prompt_of) if each == prompt and other != place]
            distances = [distance(seen.latents[place], seen.latents[other]) for other in others]
            found.append(float(np.mean(distances)) / self.usual if distances else float("nan"))
        return np.array(found, dtype=np.float32)

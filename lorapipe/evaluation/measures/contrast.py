"""How much a picture is what its prompt asks for and no other prompt does, by what the base paints of the prompts.

The base knows its words, whether a caption has them or not. What its pictures of one prompt have that those of the other
prompts have not is a direction in how near a picture comes to each visual word (see `taught`, which learns directions from
captions instead: the two are independent). A picture's figure is the mean of its place on that direction, and of how far it
has moved from the middle of all pictures along the base's own way, which is blind to what the LoRA does to all prompts
alike. The base's way is that of its other pictures of the prompt: what the picture's own noise makes of it is no answer to
the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from lorapipe.captioning.tags import compared_tags
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.measures.taught import Direction
from lorapipe.evaluation.visual_words import VisualWords

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen


@dataclass(frozen=True)
class Contrast(Measure):
    """`words` are K visual words; `directions` one for each prompt, None where it asks for nothing of its own;
    `ways` (N, K) how the base's other pictures of each picture's prompt differ from those of all prompts, in standard
    deviations `spread` (K,); `whole` what the base's own pictures reach.
    """

    words: VisualWords
    directions: Sequence[Direction | None]
    ways: Array
    spread: Array
    prompt_of: Sequence[int]
    whole: float = 1.0

    title = "prompt contrast"
    meaning = (
        "how much a picture is of its own prompt and not of the others: 1 as the base's pictures, 0 as the others'"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        prompt_of = np.array(reference.prompt_of)
        said = [{*compared_tags(each)} for each in reference.prompts]
        if len(said) < 2:
            return None
        shared = set.intersection(*said)
        words = VisualWords.of(reference.base)
        shown = words(reference.base)
        means = np.stack([shown[prompt_of == prompt].mean(axis=0) for prompt in range(len(said))])
        within = (shown - means[prompt_of]).std(axis=0)
        noise = within if within.any() else shown.std(axis=0)
        weights = 1 / (noise + np.median(noise) + 1e-9) ** 2
        directions = [
            _direction(shown, prompt_of == prompt, weights) if each - shared else None
            for prompt, each in enumerate(said)
        ]
        spread = shown.std(axis=0) + 1e-9
        ways = ways_of_prompts(shown / spread, reference.prompt_of)
        bare = cls(words, directions, ways, spread.astype(np.float32), tuple(reference.prompt_of))
        figures = bare(reference.base)
        whole = float(np.nanmean(figures)) if not np.isnan(figures).all() else 0.0
        return replace(bare, whole=whole) if whole > 0.1 else None

    def __call__(self, seen: Seen) -> Array:
        shown = self.words(seen)
        moved = moves(shown / self.spread)
        found = np.full(len(seen), np.nan, dtype=np.float32)
        for place, prompt in enumerate(self.prompt_of):
            direction, way = self.directions[prompt], self.ways[place]
            if direction is not None:
                along = float(np.clip(moved[place] @ way / max(float(way @ way), 1e-9), 0, 1))
                found[place] = (float(direction.shown(shown[place])) + along) / 2
        return np.minimum(found / self.whole, 1)


def _direction(shown: Array, own: NDArray[np.bool_], weights: Array) -> Direction:
    """From the pictures of the other prompts to those of a prompt; `own` (N,) says which these are."""
    ours, others = shown[own], shown[~own]
    way = (ours.mean(axis=0) - others.mean(axis=0)) * weights
    return Direction.between(way, others, ours)


def moves(shown: Array) -> Array:
    """How each picture (N, K) differs from the mean of all."""
    found: Array = shown - shown.mean(axis=0)
    return found


def ways_of_prompts(shown: Array, prompt_of: Sequence[int]) -> Array:
    """For each of the base's pictures (N, K) the mean move of the others of its prompt; its own where there are none."""
    moved, of = moves(shown), np.array(prompt_of)
    found = moved.copy()
    for prompt in {*prompt_of}:
        own = of == prompt
        if (others := own.sum() - 1) > 0:
            found[own] = (moved[own].sum(axis=0) - moved[own]) / others
    return found

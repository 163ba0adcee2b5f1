"""How much pictures change with their prompt, held against how much the training pictures change with their captions.

The base paints a prompt, and it paints a caption of the training. How its pictures differ from those of the other texts is a
way in how near a picture comes to each visual word (see `taught`). A picture's figure is how far it has gone on the way of
the base's other pictures of its prompt (of other noises, see `contrast`), and the scale is how far the training pictures
have gone on that of their captions. So a style in which little can be told apart, whatever it is drawn of, is not said to
ignore its prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from lorapipe.captioning.tags import compared_tags
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.measures.contrast import moves, ways_of_prompts
from lorapipe.evaluation.visual_words import VisualWords

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen

LEAST_WAY, ERRORS = 0.05, 2.0
"""The training pictures must go this share of the base's way on the average, and so many standard errors of it: else the
captions are not told from them, and nothing can be held against them."""


@dataclass(frozen=True)
class Response(Measure):
    """`words` are K visual words and `spread` (K,) the standard deviations of how near the base's pictures come to
    each; `ways` (N, K) are the base's, NaN where a prompt asks for nothing of its own; `whole` is what the training
    pictures reach."""

    words: VisualWords
    spread: Array
    ways: Array
    whole: float = 1.0

    title = "response to prompts"
    meaning = (
        "how much a picture changes with its prompt as the base's do: 1 as the training pictures change with their "
        "captions, 0 not at all"
    )

    @classmethod
    def fit(cls, reference: Reference) -> Self | None:
        captioned, said = reference.captioned, [{*compared_tags(each)} for each in reference.prompts]
        if not captioned or len(said) < 2:
            return None
        shared = set.intersection(*said)
        own = np.array([bool(each - shared) for each in said])
        words = VisualWords.of(reference.base, captioned)
        shown = words(reference.base)
        spread = shown.std(axis=0) + 1e-9
        ways = ways_of_prompts(shown / spread, reference.prompt_of)
        ways[~own[list(reference.prompt_of)]] = np.nan
        bare = cls(words, spread, ways)
        gone = bare._gone_in_training(reference, captioned)
        whole, error = float(gone.mean()), float(gone.std(ddof=1)) / len(gone) ** 0.5
        return replace(bare, whole=whole) if whole > max(LEAST_WAY, ERRORS * error) else None

    def __call__(self, seen: Seen) -> Array:
        return _gone(moves(self.words(seen) / self.spread), self.ways) / np.float32(self.whole)

    def _gone_in_training(self, reference: Reference, captioned: Seen) -> Array:
        """How far training pictures have gone on the base's way from the other captions to their own, (M,)."""
        ours = self.words(reference.training.of(reference.captioned_of)) / self.spread
        return _gone(moves(ours), moves(self.words(captioned) / self.spread))


def _gone(moved: Array, ways: Array) -> Array:
    """How far each move (N, K) goes on its way, as a share of it, (N,)."""
    found: Array = (moved * ways).sum(axis=1) / np.maximum((ways * ways).sum(axis=1), 1e-9)
    return found

"""Textual inversion: a new word for the base, learnt from pictures, that is all that changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter

if TYPE_CHECKING:
    from lorapipe.models import Footprint

WIDEST = 768 + 1280
"""Numbers of a vector in all text encoders of a base: SDXL's, which are the widest."""


@dataclass(frozen=True)
class Embedding(WordEmbedding, Adapter):
    """A few vectors that a word stands for in captions and prompts; the base stays as it is.

    Textual inversion  (Gal et al. 2022, arXiv:2208.01618).
    """

    trains: ClassVar[tuple[str, ...]] = ("embedding",)
    has_norms: ClassVar[bool] = False

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        return self.vectors * WIDEST

"""Textual inversion: trains the vectors of one new word, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter

if TYPE_CHECKING:
    from lorapipe.models import Footprint


@dataclass(frozen=True)
class Embedding(WordEmbedding, Adapter):
    """A few trained vectors for one word of captions and prompts; the base is not changed.

    Textual inversion  (Gal et al. 2022, arXiv:2208.01618).
    """

    search_words: ClassVar[tuple[str, ...]] = ("textual inversion", "train embedding", "trigger word")
    trains: ClassVar[tuple[str, ...]] = ("embedding",)
    has_norms: ClassVar[bool] = False

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        """Count vectors × Σ of the text encoders' hidden sizes (inputs of their first layers)."""
        texts = [layers for part, layers in footprint.inner.items() if part != footprint.denoiser]
        return self.vectors * sum(layers[0].shape[1] for layers in texts)

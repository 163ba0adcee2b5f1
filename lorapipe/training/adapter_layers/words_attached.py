"""Embeddings of words inside a model: attached, trained, read, detached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lorapipe.errors import InputError
from lorapipe.formats import EMBEDDING, AdapterWeights
from lorapipe.training.adapters import Attached

if TYPE_CHECKING:
    from lorapipe.models import Model

Vectors = Mapping[str, Tensor]
"""Vectors of one word: text encoder → (n, d)."""


def attach_weights(model: Model, embeddings: Mapping[str, Vectors]) -> Attached:
    """Attach trained embeddings; `InputError` where they are for another kind of base."""
    for word, vectors in embeddings.items():
        if missing := [part for part in model.word_encoders if part not in vectors]:
            what = f"the embedding {word} has vectors for {_names(vectors)}, and none for {_names(missing)}."
            raise InputError(what, cure="Is it of another family?")
        for part in model.word_encoders:
            _must_fit(word, part, vectors[part].shape[1:], model.token_table(part).shape[1:])
    fitting = {word: {part: each[part] for part in model.word_encoders} for word, each in embeddings.items()}
    return WordsAttached(model, fitting)


class WordsAttached(Attached):
    """Handle of words that a model's captions may use. With `norm` p, each step multiplies a vector v by (m / ‖v‖)^p.

    m is the median norm of the vocabulary; p = 1 is OneTrainer's `preserve_embedding_norm`.
    """

    def __init__(self, model: Model, words: Mapping[str, Vectors], norm: float = 0.0) -> None:
        self._model, self._norm = model, norm
        self._words = {
            word: {part: _parameter(rows, model.device) for part, rows in vectors.items()}
            for word, vectors in words.items()
        }
        self._usual = (
            {part: model.token_table(part).float().norm(dim=1).median() for part in model.word_encoders} if norm else {}
        )
        self._before = {word: model.words.get(word) for word in words}
        model.words.update(self._words)

    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        return {EMBEDDING: [rows for vectors in self._words.values() for rows in vectors.values()]}

    def learned(self) -> AdapterWeights:
        def copied(vectors: Vectors) -> dict[str, Tensor]:
            return {part: rows.detach().to("cpu", torch.float32, copy=True) for part, rows in vectors.items()}

        return AdapterWeights(embeddings={word: copied(vectors) for word, vectors in self._words.items()})

    def load(self, weights: AdapterWeights) -> None:
        """Load vectors by word; a single word matches whatever the file calls it."""
        theirs = dict(weights.embeddings)
        if len(theirs) == len(self._words) == 1:
            theirs = dict(zip(self._words, theirs.values(), strict=True))
        if theirs.keys() != self._words.keys():
            what = f"the weights have {_names(theirs)} as words, and the adapter {_names(self._words)}."
            raise InputError(what, cure="Is it the right file?")
        with torch.no_grad():
            for word, vectors in self._words.items():
                for part, rows in vectors.items():
                    if part not in theirs[word]:
                        raise InputError(
                            f"the embedding {word} has no vectors for {part}.", cure="Is it of another base?"
                        )
                    found = theirs[word][part]
                    _must_fit(word, part, found.shape, rows.shape)
                    rows.copy_(found)

    def set_strength(self, strengths: Mapping[str, float]) -> None:
        """Switch the words on, or off where all strengths are 0; there is nothing between."""
        if any(strengths.values()):
            self._model.words.update(self._words)
        else:
            self._withdraw()

    def limit_norms(self, maximum: float) -> None:
        """Do nothing: a word has no ΔW."""

    @torch.no_grad()
    def constrain(self) -> None:
        if self._norm:
            for vectors in self._words.values():
                for part, rows in vectors.items():
                    rows.mul_((self._usual[part] / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)) ** self._norm)

    def detach(self) -> None:
        self._withdraw()

    def _withdraw(self) -> None:
        for word, before in self._before.items():
            self._model.words.pop(word, None)
            if before is not None:
                self._model.words[word] = before


def _names(names: Iterable[str]) -> str:
    return " and ".join(names) or "nothing"


def _parameter(rows: Tensor, device: torch.device) -> torch.nn.Parameter:
    found = torch.nn.Parameter(rows.detach().to(device, torch.float32, copy=True))
    found.grad = torch.zeros_like(found)  # its gradient in steps whose captions lack the word
    return found


def _must_fit(word: str, part: str, theirs: torch.Size, ours: torch.Size) -> None:
    if theirs != ours:
        found, wanted = ("x".join(map(str, shape)) for shape in (theirs, ours))
        what = f"the embedding {word} is {found} for {part}, where {wanted} is wanted."
        raise InputError(what, cure="It must be of such a base, and have as many vectors.")

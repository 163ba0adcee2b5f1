"""Knobs of a trained word: alone (textual inversion), or together with an adapter (pivotal tuning)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, Problem
from lorapipe.spec import REQUIRED, Spec, param

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.models import Model
    from lorapipe.training.adapters import Attached

NAME = re.compile(r"[^\s,()\[\]{}|:\\/\"'](?:[^,()\[\]{}|:\\/\"'\n]*[^\s,()\[\]{}|:\\/\"'])?")
"""A word without the punctuation of captions and without characters that file names cannot have."""
REPEATED = 0.01
"""Noise on repeated initial vectors, as a share of the vocabulary's spread: equal vectors would stay equal."""


@dataclass(frozen=True)
class WordEmbedding(Spec):
    """A word with trained vectors, which text encoders read instead of the word's own (Gal et al. 2022)."""

    trigger: str = param(
        REQUIRED,
        "the word for it in captions and prompts, and the name that its file should have. Captions must contain "
        "it: `captions: {trigger: penny}` puts it before each",
        kohya=("token_string",),
    )
    vectors: int = param(
        4,
        "number of vectors, each of which takes one of a prompt's 75 tokens: 1 or 2 for a concept, 4 to 8 for a person, up "
        "to 16 for a style",
        ge=1,
        le=75,
        kohya=("num_vectors_per_token",),
    )
    init: str = param(
        "",
        "words that give the initial vectors, such as `woman portrait`: the nearest that the base knows. Fewer tokens than "
        "vectors are repeated in order; empty: random, with the vocabulary's mean and spread",
        kohya=("init_word",),
    )
    replace: bool = param(
        False,
        "give another meaning to a trigger that the base knows; without init it starts from that word's own vectors",
        rare=True,
    )
    norm: float = param(
        0.0,
        "how strongly each step pulls the norm of its vectors to the vocabulary's median: 0 not at all, 1 exactly, "
        "0.1 softly. Vectors with large norms drown out the rest of a prompt",
        ge=0,
        le=1,
        rare=True,
    )

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Register the vectors under the trigger; they alone require gradients. `InputError` where the base has no words."""
        from lorapipe.training.adapter_layers.words_attached import WordsAttached

        if not model.word_encoders:
            raise InputError("this base has no text encoder whose words can be learnt.", where="adapter")
        vectors = {part: self._initial(model, part, seed) for part in model.word_encoders}
        return WordsAttached(model, {self.trigger: vectors}, self.norm)

    def _initial(self, model: Model, part: str, seed: int) -> Tensor:
        """Return initial vectors (n, d): those of `init` repeated (sd-scripts, `train_textual_inversion.py`), or random."""
        import torch

        from lorapipe.training.adapter_layers.host import generator

        table, own = model.token_table(part).float(), model.token_rows(part, self.trigger).float()
        if len(own) == 1 and not self.replace:
            what = f"{self.trigger} is a word that this base knows."
            cure = "Choose one that it does not know, or write replace: true, which gives it another meaning."
            raise InputError(what, where="trigger", cure=cure)
        words = model.token_rows(part, self.init).float() if self.init else own[: len(own) if self.replace else 0]
        drawn = torch.randn(self.vectors, table.shape[1], generator=generator(seed, f"{part} {self.trigger}"))
        spread, drawn = table.std(0), drawn.to(table.device)
        if not len(words):
            return table.mean(0) + spread * drawn
        found = words[torch.arange(self.vectors) % len(words)]
        found[len(words) :] += REPEATED * spread * drawn[len(words) :]
        return found

    def problems(self) -> Iterator[Problem]:
        """Check that prompts and file names can contain the trigger."""
        if not self.trigger:
            yield Problem("an embedding needs a trigger word.", cure="Write trigger: penny.", path=("trigger",))
        elif not NAME.fullmatch(self.trigger):
            what = f"{self.trigger!r} cannot be found in captions, or be the name of a file."
            yield Problem(what, cure="Use letters, digits, - _ . < > and spaces within.", path=("trigger",))

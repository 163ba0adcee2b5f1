"""The knobs of a word that is learnt: alone (textual inversion), or together with an adapter (pivotal tuning)."""

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
"""A word without what captions use as marks, and file names cannot have."""
REPEATED = 0.01
"""Spread of what is added to initial vectors that repeat others, as a share of the vocabulary's: equal ones learn alike."""


@dataclass(frozen=True)
class WordEmbedding(Spec):
    """A word whose vectors are learnt; text encoders read them in the place of the word's own (Gal et al. 2022)."""

    trigger: str = param(
        REQUIRED,
        "the word that calls it in captions and prompts, and the name that its file should have. Captions have to say "
        "it: `captions: {trigger: penny}` puts it before each",
        kohya=("token_string",),
    )
    vectors: int = param(
        4,
        "how many tokens it takes: 1 or 2 for an idea, 4 to 8 for a person, up to 16 for a style; each takes one of a "
        "prompt's 75",
        ge=1,
        le=75,
        kohya=("num_vectors_per_token",),
    )
    init: str = param(
        "",
        "words whose vectors it begins as, such as `woman portrait`: what the base knows that is nearest. Repeated in order "
        "where there are fewer than vectors; empty: random, in the spread of the vocabulary",
        kohya=("init_word",),
    )
    replace: bool = param(
        False,
        "the trigger is a word that the base knows, and is given another meaning; without init it begins as its own",
    )
    norm: float = param(
        0.0,
        "how strongly the length of its vectors is held at the vocabulary's usual one after each step: 0 not, 1 exactly, "
        "0.1 softly. Long vectors shout the rest of a prompt down",
        ge=0,
        le=1,
    )

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Let captions call the vectors by the trigger; they alone require gradients. `InputError` where it cannot be."""
        from lorapipe.training.adapter_layers.words_attached import WordsAttached

        if not model.word_encoders:
            raise InputError("this base has no text encoder whose words can be learnt.", where="adapter")
        vectors = {part: self._initial(model, part, seed) for part in model.word_encoders}
        return WordsAttached(model, {self.trigger: vectors}, self.norm)

    def _initial(self, model: Model, part: str, seed: int) -> Tensor:
        """The words' vectors repeated in order (sd-scripts, `train_textual_inversion.py`), or random ones: (n, d)."""
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
        """A trigger that prompts and files can have."""
        if not self.trigger:
            yield Problem("an embedding needs a word to be called by.", cure="Write trigger: penny.", path=("trigger",))
        elif not NAME.fullmatch(self.trigger):
            what = f"{self.trigger!r} cannot be found in captions, or be the name of a file."
            yield Problem(what, cure="Use letters, digits, - _ . < > and spaces within.", path=("trigger",))

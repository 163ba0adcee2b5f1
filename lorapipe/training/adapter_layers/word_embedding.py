"""The knobs of a word that is learnt: alone (textual inversion), or together with an adapter (pivotal tuning)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.spec import Spec, param

if TYPE_CHECKING:
    from lorapipe.models import Model
    from lorapipe.training.adapters import Attached

NAME = re.compile(r"[^\s,()\[\]{}|:\\/\"'](?:[^,()\[\]{}|:\\/\"'\n]*[^\s,()\[\]{}|:\\/\"'])?")
"""A word without what captions use as marks, and file names cannot have."""


@dataclass(frozen=True)
class WordEmbedding(Spec):
    """A word whose vectors are learnt; text encoders read them in the place of the word's own (Gal et al. 2022)."""

    trigger: str = param(
        "",
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
        from lorapipe.training.adapter_layers import words_attached

        return words_attached.attach(self, model, seed)

    def problems(self) -> Iterator[Problem]:
        """A trigger that prompts and files can have."""
        if not self.trigger:
            yield Problem("an embedding needs a word to be called by.", cure="Write trigger: penny.", path=("trigger",))
        elif not NAME.fullmatch(self.trigger):
            what = f"{self.trigger!r} cannot be found in captions, or be the name of a file."
            yield Problem(what, cure="Use letters, digits, - _ . < > and spaces within.", path=("trigger",))

"""Embeddings (textual inversion) in files: the keys of a word's vectors.

| key | written by |
|---|---|
| `emb_params` | sd-scripts and A1111, for a base with one text encoder; OneTrainer spells it `emp_params` |
| `clip_l`, `clip_g` | all of them, for SDXL |
| `*` | A1111 in its `.pt`, within `string_to_param` |
| the word itself | diffusers, as the only tensor of a file |
| `bundle_emb.WORD.…` | OneTrainer, in a LoRA's file: `clip_l`, `clip_g`, or `string_to_param.*` |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.formats.algorithms import shape_in_words

if TYPE_CHECKING:
    from torch import Tensor

Keys = dict[str, dict[str, str]]
"""Word → text encoder → the key of its vectors."""

ENCODERS = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""Files' name of a text encoder → its part, for a base with two."""
ONLY = "text_encoder"
NAMELESS = ("emb_params", "emp_params", "*", "string_to_param.*", "clip_h")
"""Keys, for a base with one text encoder, that do not contain the word."""
BUNDLED = re.compile(r"bundle_emb\.(.+)\.(string_to_param\.\*|[^.*]+)")
OTHERS = re.compile(r"\.|^lora_|_weight$|alpha$")
"""Matches keys that are not a word in diffusers' format."""


def sorted_keys(keys: Sequence[str], word: str) -> tuple[Keys, list[str]]:
    """Split a file's keys into those of words' vectors, and others. `word` is the file's name, for keys without a word."""
    found, rest = _bundled(keys)
    if rest and set(rest) <= ENCODERS.keys():
        found[word] = {ENCODERS[key]: key for key in rest}
    elif len(rest) == 1 and rest[0] in NAMELESS:
        found[word] = {ONLY: rest[0]}
    elif len(rest) == 1 and not found and not OTHERS.search(rest[0]):
        found[rest[0]] = {ONLY: rest[0]}
    else:
        return found, rest
    return found, []


def _bundled(keys: Sequence[str]) -> tuple[Keys, list[str]]:
    """Split keys into those of words bundled with an adapter, and others."""
    found: Keys = {}
    rest: list[str] = []
    for key in keys:
        if (bundled := BUNDLED.fullmatch(key)) and (bundled[2] in ENCODERS or bundled[2] in NAMELESS):
            found.setdefault(bundled[1], {})[ENCODERS.get(bundled[2], ONLY)] = key
        else:
            rest.append(key)
    return found, rest


def vectors(keys: Keys, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return word → text encoder → vectors (n, d), for tensors that `flaws` has passed."""
    return {
        word: {part: tensors[key].reshape(-1, tensors[key].shape[-1]) for part, key in of_word.items()}
        for word, of_word in keys.items()
    }


def flaws(keys: Keys, tensors: Mapping[str, Tensor]) -> Iterator[Problem]:
    """Yield tensors that cannot be vectors, and words with a different number of vectors for each text encoder."""
    for word, of_word in keys.items():
        found = {key: tensors[key] for key in of_word.values()}
        odd = [key for key, each in found.items() if each.dim() not in (1, 2) or not each.numel()]
        for key in odd:
            what = f"{key} is {shape_in_words(found[key])}, where the vectors of a word should be (n x d)."
            yield Problem(what, cure="Is it the right file?")
        counts = {key: each.numel() // each.shape[-1] for key, each in found.items() if key not in odd}
        if len({*counts.values()}) > 1:
            told = " and ".join(f"{key} has {count}" for key, count in counts.items())
            yield Problem(f"the vectors of {word} do not fit: {told}.", cure="The file is incomplete.")


def kohya_keys(word: str, encoders: Sequence[str], bundled: bool) -> dict[str, str]:
    """Return text encoder → key of a word's vectors, as A1111 and ComfyUI read them alone or `bundled` in a LoRA's file."""
    names = {part: name for name, part in ENCODERS.items()}
    if bundled:
        alone = [*encoders] == [ONLY]
        return {part: f"bundle_emb.{word}.{'string_to_param.*' if alone else names[part]}" for part in encoders}
    return {ONLY: "emb_params"} if [*encoders] == [ONLY] else {part: names[part] for part in encoders}

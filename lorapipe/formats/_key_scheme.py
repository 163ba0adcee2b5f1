"""How a format names modules and tensors."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.errors import InputError
from lorapipe.formats._hypernetwork import SETTINGS, Hypernetwork
from lorapipe.formats._weights import AdapterWeights, Names, NameTable, Place, Stored
from lorapipe.formats.algorithms import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

ALPHA = "alpha"
"""The suffix of a module's scale."""


class KeyScheme(ABC):
    """What an adapter's file calls modules and their tensors: a key is a module's name and a suffix.

    Suffixes inside the program are kohya's and LyCORIS' (`Algorithm.keys`, and `alpha`), in whatever format they were.
    """

    ending: ClassVar[str] = ".safetensors"
    """Of a file's name; empty where a folder is written."""
    alphas: ClassVar[Literal["tensors", "settings", "folded"]] = "tensors"
    """Where a module's alpha is: in a tensor, in a text beside the tensors, or multiplied into them."""

    updates: ClassVar[bool] = True
    """Whether files have a place for updates of modules; else only for embeddings."""

    @abstractmethod
    def split(self, key: str) -> tuple[str, str] | None:
        """A key of this format as (module's name, kohya's suffix); None for any other key."""

    @abstractmethod
    def place(self, module: str, table: NameTable) -> Place | None:
        """The model's module that one of its names means; None where there is none."""

    @abstractmethod
    def key(self, place: Place, suffix: str, table: NameTable) -> str:
        """The key of a module's tensor, whose suffix is one of `suffixes`."""

    def suffixes(self, algorithm: Algorithm) -> Mapping[str, str]:
        """An algorithm's short names → this format's suffixes; empty where it has no such adapter."""
        return algorithm.keys

    def alpha(self, module: str, usual: float, stored: Stored) -> float:
        """The alpha of a module whose file has no such tensor; `InputError` where its scale cannot be told."""
        return usual

    def embedding_keys(self, word: str, encoders: Sequence[str], bundled: bool) -> dict[str, str]:
        """Text encoder → the key of a word's vectors for it; `bundled` where others are in the file too.

        `InputError` where the format has no place for them.
        """
        what = (
            f"has {word}, an embedding, for which this format has no place{' beside other things' if bundled else ''}."
        )
        raise InputError(what, cure="Export it in kohya's format.")

    def hypernetwork_tensors(self, weights: Hypernetwork) -> dict[str, Tensor]:
        """The tensors of a hypernetwork by their keys; `InputError` where the format has no place for one."""
        what = "has a hypernetwork, for which this format has no place."
        raise InputError(what, cure="Export it with format: a1111, to a name that ends in .pt.")

    def encode(self, stored: Stored) -> bytes:
        """The bytes of a file that holds these tensors and this metadata."""
        from lorapipe.formats._safetensors_file import serialize

        return serialize(stored.tensors, stored.metadata)

    def read(self, path: Path) -> Stored | None:
        """What a folder of this format holds, or a file that belongs to one; None for any other path."""
        return None

    def holds(self, path: Path) -> bool:
        """Whether a path is a folder of this format; `InputError` where its settings are wrong. Without torch."""
        return False

    def matches(self, keys: Collection[str]) -> bool:
        """Whether a file with these keys has some of this format."""
        return any(self.split(key) is not None for key in keys)

    def save(self, weights: AdapterWeights, names: Names) -> dict[str, Tensor]:
        """An adapter's tensors by their keys. `InputError` where the format has no place for its algorithm."""
        import torch

        table, tensors = NameTable(names), dict[str, torch.Tensor]()
        for place, module in (weights.folded() if self.alphas == "folded" else weights).modules.items():
            suffixes = self.suffixes(Algorithm.of(module.algorithm))
            if missing := [short for short in module.tensors if short not in suffixes]:
                what = f"{' '.join(place)} has {', '.join(missing)} ({module.algorithm}), which this format has not."
                raise InputError(what, cure="Export it in kohya's format.")
            for short, tensor in module.tensors.items():
                tensors[self.key(place, suffixes[short], table)] = tensor.contiguous()
            if self.alphas == "tensors" and Algorithm.of(module.algorithm).has_alpha:
                tensors[self.key(place, ALPHA, table)] = torch.tensor(float(module.alpha))
        return tensors | self._others(weights)

    def _others(self, weights: AdapterWeights) -> dict[str, Tensor]:
        """The tensors of what is no update of a module, by their keys."""
        tensors: dict[str, Tensor] = {}
        bundled = bool(weights.modules) or len(weights.embeddings) > 1
        for word, vectors in weights.embeddings.items():
            for part, key in self.embedding_keys(word, [*vectors], bundled).items():
                tensors[key] = vectors[part].contiguous()
        return tensors if weights.hypernetwork is None else tensors | self.hypernetwork_tensors(weights.hypernetwork)

    def files(self, weights: AdapterWeights, names: Names) -> Mapping[str, Stored]:
        """The files of an adapter by their paths in a folder; `""` is the one file. A single word is their `name`."""
        name = dict.fromkeys(["name"] if len(weights.embeddings) == 1 else [], "".join(weights.embeddings))
        told = {} if weights.hypernetwork is None else {SETTINGS: json.dumps(weights.hypernetwork.plain())}
        return {"": Stored(self.save(weights, names), {**name, **told})}


def suffix_table(to: Literal["keys", "peft_keys"] = "keys") -> Mapping[str, str]:
    """Of every algorithm: the suffixes of its `keys` or `peft_keys` → kohya's."""
    return _suffix_table(to, tuple(Algorithm.registry.names()))


@cache
def _suffix_table(to: str, algorithms: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for algorithm in map(Algorithm.of, algorithms):
        theirs: Mapping[str, str] = getattr(algorithm, to)
        found |= {suffix: algorithm.keys[short] for short, suffix in theirs.items()}
    return found

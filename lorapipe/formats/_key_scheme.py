"""Contract of a format: keys of modules and tensors."""

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
"""Suffix of a module's alpha."""


class KeyScheme(ABC):
    """Names of modules and tensors in an adapter's file: a key is a module's name and a suffix.

    Inside the program suffixes are kohya's and LyCORIS' (`Algorithm.keys`, and `alpha`), whatever the format.
    """

    ending: ClassVar[str] = ".safetensors"
    """Extension of its files; empty for a format that is a folder."""
    alphas: ClassVar[Literal["tensors", "settings", "folded"]] = "tensors"
    """Where alpha is: in a tensor, in a settings file beside the tensors, or multiplied into them."""

    updates: ClassVar[bool] = True
    """Whether files can hold updates of modules, and not embeddings and hypernetworks alone."""

    @abstractmethod
    def split(self, key: str) -> tuple[str, str] | None:
        """Split a key of this format into (module name, kohya's suffix); None for any other key."""

    @abstractmethod
    def place(self, module: str, table: NameTable) -> Place | None:
        """Find the model's module of a name; None where there is none."""

    @abstractmethod
    def key(self, place: Place, suffix: str, table: NameTable) -> str:
        """Return the key of a module's tensor; the suffix is one of `suffixes`."""

    def suffixes(self, algorithm: Algorithm) -> Mapping[str, str]:
        """Return an algorithm's short names → this format's suffixes; empty where the format lacks the algorithm."""
        return algorithm.keys

    def alpha(self, module: str, usual: float, stored: Stored) -> float:
        """Return the alpha of a module without an alpha tensor, by default `usual`; `InputError` where it is unknown."""
        return usual

    def embedding_keys(self, word: str, encoders: Sequence[str], bundled: bool) -> dict[str, str]:
        """Return text encoder → key of a word's vectors; `bundled` where the file holds other things too.

        `InputError` where the format has no place for them.
        """
        what = (
            f"has {word}, an embedding, for which this format has no place{' beside other things' if bundled else ''}."
        )
        raise InputError(what, cure="Export it in kohya's format.")

    def hypernetwork_tensors(self, weights: Hypernetwork) -> dict[str, Tensor]:
        """Return a hypernetwork's tensors by their keys; `InputError` where the format has no place for one."""
        what = "has a hypernetwork, for which this format has no place."
        raise InputError(what, cure="Export it with format: a1111, to a name that ends in .pt.")

    def encode(self, stored: Stored) -> bytes:
        """Return the bytes of a file with these tensors and this metadata."""
        from lorapipe.formats._safetensors_file import serialize

        return serialize(stored.tensors, stored.metadata)

    def read(self, path: Path) -> Stored | None:
        """Read a folder of this format, or a file that belongs to one; None for any other path."""
        return None

    def holds(self, path: Path) -> bool:
        """Return whether a path is a folder of this format, without torch; `InputError` where its settings are wrong."""
        return False

    def matches(self, keys: Collection[str]) -> bool:
        """Return whether any of a file's keys is of this format."""
        return any(self.split(key) is not None for key in keys)

    def save(self, weights: AdapterWeights, names: Names) -> dict[str, Tensor]:
        """Return an adapter's tensors by their keys; `InputError` where the format lacks its algorithm."""
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
        """Return the tensors of embeddings and hypernetworks, by their keys."""
        tensors: dict[str, Tensor] = {}
        bundled = bool(weights.modules) or weights.hypernetwork is not None or len(weights.embeddings) > 1
        for word, vectors in weights.embeddings.items():
            for part, key in self.embedding_keys(word, [*vectors], bundled).items():
                tensors[key] = vectors[part].contiguous()
        return tensors if weights.hypernetwork is None else tensors | self.hypernetwork_tensors(weights.hypernetwork)

    def files(self, weights: AdapterWeights, names: Names) -> Mapping[str, Stored]:
        """Return an adapter's files by their paths in a folder; `""` for a single file. A single word is its `name`."""
        name = dict.fromkeys(["name"] if len(weights.embeddings) == 1 else [], "".join(weights.embeddings))
        told = {} if weights.hypernetwork is None else {SETTINGS: json.dumps(weights.hypernetwork.plain())}
        return {"": Stored(self.save(weights, names), {**name, **told})}


def suffix_table(to: Literal["keys", "peft_keys"] = "keys") -> Mapping[str, str]:
    """Return the suffixes in `keys` or `peft_keys` of all algorithms → kohya's suffixes."""
    return _suffix_table(to, tuple(Algorithm.registry.names()))


@cache
def _suffix_table(to: str, algorithms: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for algorithm in map(Algorithm.of, algorithms):
        theirs: Mapping[str, str] = getattr(algorithm, to)
        found |= {suffix: algorithm.keys[short] for short, suffix in theirs.items()}
    return found

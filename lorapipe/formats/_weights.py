"""Adapter weights in memory, independent of files and models; and the contents of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from lorapipe.formats._hypernetwork import Hypernetwork
from lorapipe.formats.algorithms import Algorithm
from lorapipe.models._weight_files import TOP

if TYPE_CHECKING:
    from torch import Tensor

Place = tuple[str, str]
"""A module of a model: (part, dotted path)."""
EMBEDDING = "embedding"
"""Name of the part that stands for vectors of words, which belong to no module."""
Names = Mapping[str, Place]
"""Module name in files → place: `Model.kohya_names()`. Where a module has several names, files get the first."""


@dataclass(frozen=True)
class ModuleWeights:
    """Update of one module: an algorithm's tensors (`lorapipe.formats.algorithms`) by its short names."""

    algorithm: str
    tensors: Mapping[str, Tensor]
    alpha: float

    @property
    def rank(self) -> int:
        """Rank, as its algorithm counts it."""
        return Algorithm.of(self.algorithm).rank(self.tensors)

    @property
    def scale(self) -> float:
        """Factor on the tensors' product, by alpha."""
        return Algorithm.of(self.algorithm).scale(self.tensors, self.alpha)

    @property
    def needs_weight(self) -> bool:
        """Whether ΔW depends on the base's weight."""
        return Algorithm.of(self.algorithm).needs_weight(self.tensors)

    def delta(self, weight: Tensor | None = None) -> Tensor:
        """Compute ΔW in float32, see `Algorithm.delta`; `weight` is the base's W, for algorithms that need it."""
        import torch

        flags = Algorithm.of(self.algorithm).flags
        tensors = {name: each if name in flags else each.to(torch.float32) for name, each in self.tensors.items()}
        weight = weight if weight is None else weight.to(torch.float32)
        return Algorithm.of(self.algorithm).delta(tensors, self.alpha, weight)

    @property
    def needs_bias(self) -> bool:
        """Whether Δb depends on the base's bias."""
        return Algorithm.of(self.algorithm).needs_bias(self.tensors)

    def delta_bias(self, bias: Tensor | None = None) -> Tensor | None:
        """Return Δb in float32; None where the bias is unchanged. `bias` is the base's, for algorithms that need it."""
        found = Algorithm.of(self.algorithm).delta_bias(self.tensors, bias if bias is None else bias.float())
        return None if found is None else found.float()

    def rows(self, first: int, last: int) -> ModuleWeights | None:
        """Return the update of the outputs `first` to before `last`; None where they cannot be taken apart."""
        found = Algorithm.of(self.algorithm).rows(self.tensors, first, last)
        return None if found is None else replace(self, tensors=found)

    def scaled(self, factor: float) -> ModuleWeights:
        """Return factor · ΔW, with the same alpha."""
        return replace(self, tensors=Algorithm.of(self.algorithm).scaled(self.tensors, factor))

    def balanced(self) -> ModuleWeights:
        """Return the same ΔW with tensors in float16's range."""
        return replace(self, tensors=Algorithm.of(self.algorithm).balanced(self.tensors))

    def portable(self) -> ModuleWeights:
        """Return the same ΔW in tensors that most programs read."""
        return replace(self, tensors=Algorithm.of(self.algorithm).portable(self.tensors))

    def folded(self) -> ModuleWeights:
        """Return the same ΔW with alpha = rank, the scale multiplied into the tensors."""
        return self if self.scale == 1 else replace(self.scaled(self.scale), alpha=float(self.rank))


@dataclass(frozen=True)
class AdapterWeights:
    """Trained weights of an adapter: (part, module path) → update, embeddings (textual inversion), hypernetwork.

    `embeddings` is word → text encoder → vectors (n, d).
    """

    modules: Mapping[Place, ModuleWeights] = field(default_factory=dict)
    embeddings: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    hypernetwork: Hypernetwork | None = None

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Registered names of its algorithms, sorted."""
        return tuple(sorted({module.algorithm for module in self.modules.values()}))

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the model that it changes, in the order of its modules; `embedding` comes last."""
        return (*dict.fromkeys(part for part, _ in self.modules), *([EMBEDDING] if self.embeddings else []))

    def balanced(self) -> AdapterWeights:
        """Return the same updates with tensors in float16's range."""
        return replace(self, modules={place: module.balanced() for place, module in self.modules.items()})

    def portable(self) -> AdapterWeights:
        """Return the same updates in tensors that most programs read."""
        return replace(self, modules={place: module.portable() for place, module in self.modules.items()})

    def folded(self) -> AdapterWeights:
        """Return the same updates with alpha = rank in each module."""
        return replace(self, modules={place: module.folded() for place, module in self.modules.items()})


Learned: TypeAlias = AdapterWeights
"""Weights that files hold and models can load."""


@dataclass(frozen=True)
class Stored:
    """Contents of a file, or of a folder that counts as one.

    `tensors` by key; `metadata` of a safetensors header; `texts` are further files by name; `precise` are keys of tensors
    that are written in float32 whatever the file's dtype.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    precise: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NameTable:
    """Lookup of a model's modules by their names in files."""

    names: Names

    @cached_property
    def written(self) -> dict[Place, str]:
        """Place → kohya's name, the first where there are several."""
        found: dict[Place, str] = {}
        for name, place in self.names.items():
            found.setdefault(place, name)
        return found

    def find(self, part: str, path: str) -> Place | None:
        """Find a part's module by its dotted path, with or without the prefix `text_model.`; None where there is none."""
        return self._by_path.get((part, path.removeprefix(TOP)))

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Parts that have modules."""
        return tuple(dict.fromkeys(part for part, _ in self.written))

    @cached_property
    def _by_path(self) -> dict[Place, Place]:
        return {(part, path.removeprefix(TOP)): (part, path) for part, path in self.written}

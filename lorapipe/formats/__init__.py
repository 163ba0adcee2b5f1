"""File formats: dialects of keys and metadata around one in-memory type.

`AdapterWeights` is what an adapter has learnt, by part and module path. A dialect recognises a file by its keys, loads
it and saves it; module names come from a table that the model gives (`Model.kohya_names`), so no format knows a family.

To add one, create a file here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lorapipe.formats.algorithms import Algorithm
from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch

Names = Mapping[str, tuple[str, str]]
"""A file's module name → (part, path): `Model.kohya_names()`. Of several names of a module the first is written."""


@dataclass(frozen=True)
class ModuleWeights:
    """The update of one module: the tensors of an algorithm (`lorapipe.formats.algorithms`) by its short names."""

    algorithm: str
    tensors: Mapping[str, torch.Tensor]
    alpha: float

    @property
    def rank(self) -> int:
        """The update's rank, as its algorithm counts it."""
        return Algorithm.of(self.algorithm).rank(self.tensors)

    def delta(self, weight: torch.Tensor | None = None) -> torch.Tensor:
        """ΔW in float32, see `Algorithm.delta`; `weight` is the base's, for algorithms that need it."""
        import torch

        tensors = {name: tensor.to(torch.float32) for name, tensor in self.tensors.items()}
        return Algorithm.of(self.algorithm).delta(tensors, self.alpha, weight)

    def scaled(self, factor: float) -> ModuleWeights:
        """factor · ΔW, with the same alpha."""
        return replace(self, tensors=Algorithm.of(self.algorithm).scaled(self.tensors, factor))


@dataclass(frozen=True)
class AdapterWeights:
    """Everything an adapter has learnt: (part, module path) → its update."""

    modules: Mapping[tuple[str, str], ModuleWeights] = field(default_factory=dict)


@dataclass(frozen=True)
class Format(Spec, contract="type"):
    """A dialect of adapter files."""

    @abstractmethod
    def matches(self, keys: Collection[str]) -> bool:
        """Is a file with these keys of this dialect?"""

    @abstractmethod
    def load(self, tensors: Mapping[str, torch.Tensor], names: Names) -> AdapterWeights:
        """The adapter in a file's tensors; a key that fits no module is an `InputError` that names it."""

    @abstractmethod
    def save(self, weights: AdapterWeights, names: Names) -> dict[str, torch.Tensor]:
        """The file's tensors for an adapter."""

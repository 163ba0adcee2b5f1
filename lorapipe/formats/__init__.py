"""File formats: dialects of keys and metadata around one in-memory type.

`AdapterWeights` is what an adapter has learnt, by part and module path. A dialect recognises a file by its keys, loads
it and saves it; module names come from a table that the model gives (`Model.kohya_names`), so no format knows a family.

To add one, create a file here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch

Names = Mapping[str, tuple[str, str]]
"""A file's module name → (part, path): `Model.kohya_names()`. Of several names of a module the first is written."""


@dataclass(frozen=True)
class ModuleWeights:
    """The update of one module: `lora` has tensors `down` (r, in[, k, k]) and `up` (out, r[, 1, 1])."""

    algorithm: str
    tensors: Mapping[str, torch.Tensor]
    alpha: float

    def delta(self) -> torch.Tensor:
        """ΔW in float32, in the shape of the module's weight: (alpha / r) · up · down for `lora` (Hu et al. 2021).

        With `mid` (r, r, k, k), down and up are 1×1 and the kernel is the middle's (LyCORIS' Tucker form).
        """
        import torch

        tensors = {name: tensor.to(torch.float32) for name, tensor in self.tensors.items()}
        down, up = tensors["down"], tensors["up"]
        scale, (out, rank) = self.alpha / down.shape[0], up.shape[:2]
        if "mid" in tensors:
            return scale * torch.einsum("or,rskl,si->oikl", up.flatten(1), tensors["mid"], down.flatten(1))
        return scale * (up.reshape(out, rank) @ down.flatten(1)).reshape(out, *down.shape[1:])


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

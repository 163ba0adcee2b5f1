"""Readers: what other programs make of an adapter's file, by their own rules.

A reader says which modules of a file it loads, and computes the change of a weight as its program would: only what a
program does differently is written here, for the rest its formula is the algorithm's own. So the difference between what a
file means and what a program makes of it is a figure.

To add one, create a file here. It must load quickly: import torch inside functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Algorithm
from lorapipe.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.inspection._module_names import ModuleName

MAGNITUDE = "dora_scale"


@dataclass(frozen=True)
class ReadModule:
    """A module of a file as readers ask for it."""

    name: ModuleName
    algorithm: Algorithm
    shorts: frozenset[str]
    """The algorithm's short names of its tensors."""
    keys: tuple[str, ...]
    alpha: float | None
    """By a tensor of the file; None where none tells it."""
    of_outputs: bool = False
    """Whether it is a DoRA with a magnitude for each output."""

    def alpha_or_usual(self, tensors: Mapping[str, Tensor]) -> float:
        """Its alpha; without one the scale is 1, and an OFT has no limit: all programs agree in that."""
        return self.algorithm.usual_alpha(tensors) if self.alpha is None else self.alpha


class Reader(ABC):
    """A program that loads adapters' files."""

    registry: ClassVar[Registry[Reader]]
    title: ClassVar[str]
    """What people call the program."""
    source: ClassVar[str]
    """Where the rules are from: the program's release and file."""

    @property
    def name(self) -> str:
        """Its registered name."""
        return self.registry.name_of(type(self))

    def refusal(self, modules: Sequence[ReadModule], keys: Sequence[str]) -> str:
        """Why the whole file is not loaded, to follow "because"; empty where it is. `keys` are all of the file's."""
        return ""

    @abstractmethod
    def ignores(self, module: ReadModule) -> str:
        """Why a module is left as it was, though the file is loaded; empty where it is changed."""

    def misreads(self, module: ReadModule) -> str:
        """What it makes another ΔW of than the file means, to follow the program's name; empty where it does not.

        In words what `change` is in numbers, and without torch.
        """
        return ""

    def change(
        self, module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor | None, strength: float
    ) -> Tensor:
        """What is added to a weight at a strength; `tensors` by short names and `weight` in float32."""
        return strength * module.algorithm.delta(tensors, module.alpha_or_usual(tensors), weight)

    @abstractmethod
    def words(self, encoders: Mapping[str, Sequence[str]], beside_modules: bool, keys: Sequence[str]) -> str:
        """What becomes of embeddings, word → its text encoders, in a sentence."""


Reader.registry = Registry(__name__, Reader)  # type: ignore[type-abstract]


def is_of_outputs(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a DoRA's magnitudes are one for each output."""
    return MAGNITUDE in tensors and tensors[MAGNITUDE].shape[0] != 1


def without_magnitude(module: ReadModule, tensors: Mapping[str, Tensor]) -> Tensor:
    """The product of a DoRA's factors, as if it were none."""
    plain = {short: tensor for short, tensor in tensors.items() if short != MAGNITUDE}
    return module.algorithm.delta(plain, module.alpha_or_usual(tensors))


def divided_by_norms(weight: Tensor, product: Tensor, magnitude: Tensor, measured: Tensor, axis: int) -> Tensor:
    """m ⊙ (W + P) / ‖measured‖ − W, with norms over all axes but `axis`."""
    import torch

    others = [each for each in range(measured.dim()) if each != axis]
    norms = torch.linalg.vector_norm(measured, dim=others, keepdim=True)
    magnitude = magnitude.reshape(*magnitude.shape, *[1] * (weight.dim() - magnitude.dim()))
    return (weight + product.reshape(weight.shape)) * (magnitude / norms) - weight

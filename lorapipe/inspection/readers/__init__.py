"""Readers: the rules by which other programs load adapter files.

A reader says which modules of a file its program loads, and computes ΔW as the program would. Only differences are written
here; the default is the algorithm's own formula. So the error of a program is the difference of two ΔW.

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
    """A module of a file, in the form that readers use."""

    name: ModuleName
    algorithm: Algorithm
    shorts: frozenset[str]
    """The algorithm's short names of its tensors."""
    keys: tuple[str, ...]
    alpha: float | None
    """From a tensor of the file; None if there is none."""
    of_outputs: bool = False
    """Whether it is a DoRA with a magnitude for each output."""

    def alpha_or_usual(self, tensors: Mapping[str, Tensor]) -> float:
        """Return the alpha; without one, that which makes the scale 1 (or OFT unlimited), as in all programs."""
        return self.algorithm.usual_alpha(tensors) if self.alpha is None else self.alpha


class Reader(ABC):
    """A program that loads adapter files."""

    registry: ClassVar[Registry[Reader]]
    title: ClassVar[str]
    """The program's name in reports."""
    source: ClassVar[str]
    """The source of the rules: the program's release and file."""

    @property
    def name(self) -> str:
        """The registered name."""
        return self.registry.name_of(type(self))

    def refusal(self, modules: Sequence[ReadModule], keys: Sequence[str]) -> str:
        """Return why the whole file is not loaded, to follow "because"; empty if it is. `keys`: all keys of the file."""
        return ""

    @abstractmethod
    def ignores(self, module: ReadModule) -> str:
        """Return why a module is ignored although the file is loaded; empty if it is applied."""

    def reason(self, module: ReadModule) -> str:
        """Return why a module is ignored: `ignores`, or that no program but PEFT knows its kind."""
        formats = module.algorithm.formats
        return f"only PEFT reads {module.algorithm.name}" if formats else self.ignores(module)

    def misreads(self, module: ReadModule) -> str:
        """Return how the program's ΔW of a module is wrong, to follow the program's name; empty if it is right.

        It describes the error of `change` as text, without torch.
        """
        return ""

    def change(
        self, module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor | None, strength: float
    ) -> Tensor:
        """Return the ΔW that is added to a weight at a strength. `tensors` (by short name) and `weight` are float32."""
        return strength * module.algorithm.delta(tensors, module.alpha_or_usual(tensors), weight)

    @abstractmethod
    def words(self, encoders: Mapping[str, Sequence[str]], beside_modules: bool, keys: Sequence[str]) -> str:
        """Return how embeddings (word → its text encoders) are read, as a clause without its subject."""


Reader.registry = Registry(__name__, Reader)  # type: ignore[type-abstract]


def is_of_outputs(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a DoRA has a magnitude for each output."""
    return MAGNITUDE in tensors and tensors[MAGNITUDE].shape[0] != 1


def without_magnitude(module: ReadModule, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the product of a DoRA's factors, without its magnitude."""
    plain = {short: tensor for short, tensor in tensors.items() if short != MAGNITUDE}
    return module.algorithm.delta(plain, module.alpha_or_usual(tensors))


def divided_by_norms(weight: Tensor, product: Tensor, magnitude: Tensor, measured: Tensor, axis: int) -> Tensor:
    """Return m ⊙ (W + P) / ‖measured‖ − W, with norms over all axes but `axis`."""
    import torch

    others = [each for each in range(measured.dim()) if each != axis]
    norms = torch.linalg.vector_norm(measured, dim=others, keepdim=True)
    magnitude = magnitude.reshape(*magnitude.shape, *[1] * (weight.dim() - magnitude.dim()))
    return (weight + product.reshape(weight.shape)) * (magnitude / norms) - weight

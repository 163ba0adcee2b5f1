"""Methods of the adapter `peft`: kinds of adapters that PEFT (Hugging Face's library) has and no other program reads.

A method is a spec with its few settings, PEFT's own. It gives the shapes and initial values of a module's tensors; the
formula of ΔW is its algorithm's (`lorapipe.formats.algorithms`), which also reads and writes PEFT's folders.

To add a method, create a file here, and one for its algorithm.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Method(Spec, contract="type"):
    """A kind of adapter of PEFT's."""

    algorithm: ClassVar[str]
    """Registered name of the algorithm of its tensors."""
    convolutions: ClassVar[bool] = False
    """Whether it also applies to convolutions; else to Linear layers alone."""
    rate_factor: ClassVar[float] = 1.0
    """Factor on the optimizer's default learning rates, which are for LoRA, where the user gives none."""
    sizes_differ: ClassVar[bool] = False
    """Whether PEFT's settings can give modules different sizes."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number that decides how many parameters a module has: a rank, the side of a block. 1 where none does."""

    @property
    def alpha(self) -> float:
        """Alpha, where the algorithm has one."""
        return 0.0

    @abstractmethod
    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        """Return the shapes of the trained tensors of a weight of this shape, by short name."""

    @abstractmethod
    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """Return all initial tensors of a module, with ΔW = 0, and flags and frozen ones. `weight` gives the base's W."""

    def unfit(self, shape: Sequence[int], size: int) -> str:
        """Say why a weight of this shape cannot have it, to follow its path; empty where it can."""
        return ""

    def neutral(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Return tensors with ΔW = 0, between which and `tensors` ΔW grows; None where ΔW can be scaled."""
        return None


def zeros(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return tensors of zeros."""
    import torch

    return {name: torch.zeros(*shape) for name, shape in shapes.items()}


def flag(value: int) -> Tensor:
    """Return an integer setting of a module, (1,)."""
    import torch

    return torch.tensor([value])


def kaiming(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return uniform numbers of a = √5, as PEFT and torch's Linear begin."""
    import torch

    found: Tensor = torch.nn.init.kaiming_uniform_(torch.empty(*shape), a=math.sqrt(5), generator=generator)
    return found


def inputs_of(shape: Sequence[int]) -> int:
    """Return the number of inputs of a weight: in, or in · k · k."""
    return math.prod(shape[1:])

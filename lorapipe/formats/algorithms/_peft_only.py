"""Algorithms that only PEFT has: no other program reads their tensors, and PEFT reads them in its folder alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm, Tensors

if TYPE_CHECKING:
    from torch import Tensor

MOST_NUMBERS = 2**28
"""Most entries of a matrix that a file's few numbers may ask for; the largest weight of SDXL has 2²⁴."""
INPUTS = "inputs"


class PeftOnlyAlgorithm(Algorithm):
    """Algorithm of PEFT's without an alpha.

    Where the tensors do not tell the number of inputs, a flag `inputs` (1,) does. PEFT's files have none: then ΔW takes the
    shape of the base's weight.
    """

    formats: ClassVar = ("peft",)
    network_module: ClassVar = "peft"
    has_alpha: ClassVar = False
    peft_alpha: ClassVar = ""

    def usual_alpha(self, tensors: Tensors) -> float:
        return 0.0

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return 1.0

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        what = f"an update of {self.name} cannot be scaled: it is not linear in its tensors."
        raise InputError(what, cure="Export it with convert: diff.")

    def to_peft(self, tensors: Tensors) -> dict[str, Tensor]:
        """Leave out flags and frozen tensors, which PEFT's config or its shared tensors hold."""
        beside = self.flags | self.frozen
        return {short: tensor for short, tensor in tensors.items() if short not in beside}

    def given(self, weight: Tensor | None) -> Tensor:
        """Return the base's W; `InputError` where it is not given."""
        if weight is None:
            raise InputError(f"an update of {self.name} depends on the base's weight.", cure="Pass weight.")
        return weight

    def inputs(self, tensors: Tensors, weight: Tensor | None) -> int:
        """Return the number of inputs, by the flag or the weight. `InputError` where it is no sensible one."""
        found = int(tensors[INPUTS]) if INPUTS in tensors else self.given(weight).shape[1]
        if not 0 < found <= MOST_NUMBERS:
            raise InputError(f"its {self.keys[INPUTS]} is {found}.", cure="The file is damaged.")
        return found


def number(value: int) -> Tensor:
    """Return a flag (1,)."""
    import torch

    return torch.tensor([value])


def must_be_sensible(entries: int, name: str) -> None:
    """Raise `InputError` where a file asks for a matrix that no weight of a base has."""
    if entries > MOST_NUMBERS:
        raise InputError(f"its {name} ask for a matrix of {entries:,} numbers.", cure="The file is damaged.")

"""BOFT: rotates the inputs of each module in blocks, mixed by butterflies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, inputs_of, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Boft(Method):
    """W' = s ⊙ W · R, R a product of block rotations  (Liu et al. 2024, arXiv:2311.06243). Keeps angles, as OFT does.

    One butterfly factor makes it an OFT of the inputs with a factor for each output.
    """

    algorithm: ClassVar[str] = "boft"
    convolutions: ClassVar[bool] = True

    block_size: int = param(
        4, "how many inputs rotate together; it must divide each module's inputs: 4 or 8, up to 32", ge=2, le=256
    )
    factors: int = param(
        1,
        "number of butterfly factors: 2 to 4 let distant inputs mix. PEFT itself uses more than 1 only with its CUDA "
        "extension, and elsewhere refuses the file",
        ge=1,
        le=8,
    )

    @property
    def size(self) -> int:
        return self.block_size

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        scales = (shape[0], 1) if len(shape) == 2 else (1, shape[0])
        return {"R": (self.factors, inputs_of(shape) // size, size, size), "s": scales}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        return self.neutral(zeros(self.shapes(shape, size)))

    def unfit(self, shape: Sequence[int], size: int) -> str:
        step = size * 2 ** (self.factors - 1)
        what = f"has {inputs_of(shape)} inputs, which blocks of {size}" + (f" × {step // size}" if step > size else "")
        return f"{what} do not divide" if inputs_of(shape) % step else ""

    def neutral(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"R": tensors["R"] * 0, "s": tensors["s"] * 0 + 1}

"""OFT as PEFT has it: rotates the inputs of each module in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, flag, inputs_of, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Oft(Method):
    """W' = W · R in blocks of inputs  (OFTv2, Qiu et al. 2025, arXiv:2506.19847). `type: oft` is kohya's, of the outputs."""

    algorithm: ClassVar[str] = "oftv2"
    convolutions: ClassVar[bool] = True

    block_size: int = param(
        32,
        "how many inputs rotate together; it must divide each module's inputs: 8 to 64, larger learns more",
        ge=2,
        le=512,
    )
    neumann_terms: int = param(
        0,
        "terms of the series in place of an exact inverse (PEFT's use_cayley_neumann, there 5); 0: exact",
        ge=0,
        le=16,
    )

    @property
    def size(self) -> int:
        return self.block_size

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"R": (inputs_of(shape) // size, math.comb(size, 2))}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        terms = {"terms": flag(self.neumann_terms)} if self.neumann_terms else {}
        return {**zeros(self.shapes(shape, size)), **terms}

    def unfit(self, shape: Sequence[int], size: int) -> str:
        return f"has {inputs_of(shape)} inputs, which blocks of {size} do not divide" if inputs_of(shape) % size else ""

    def neutral(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"R": tensors["R"] * 0}

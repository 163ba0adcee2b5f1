"""LoHa layer.

The Hadamard product of two rank-r products is one product of rank r²: (A B) ⊙ (C D) = (A ∗ C) (B ⋆ D), where each row of
A ∗ C is the Kronecker product of the rows of A and C, and each column of B ⋆ D that of the columns (Khatri–Rao). Where r²
is small beside the module's sides, the layer computes LoRA's two narrow products, without a matrix of the weight's size.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import is_plain, shape_of
from lorapipe.training.adapter_layers.narrow_layer import NarrowLayer

SPREADS = {"w1_a": 0.1, "w1_b": 1.0, "w2_a": 0.0, "w2_b": 1.0, "t1": 0.1, "t2": 0.1}
"""Standard deviations of the initial values, as in LyCORIS; ΔW is 0 since w2_a is."""
COST = 7 / 6
"""Cost of a multiplication in the narrow products relative to one with the full ΔW, over a training step."""


class LohaLayer(NarrowLayer):
    """base(x) + strength · alpha / rank · ((w1_a · w1_b) ⊙ (w2_a · w2_b)) x."""

    algorithm: ClassVar[str] = "loha"
    fast: ClassVar = ("w2_a",)

    def __init__(self, base: torch.nn.Module, width: Width, has_tucker: bool = False) -> None:
        (out, inputs, *kernel), rank = shape_of(base), width.rank
        is_tucker = has_tucker and math.prod(kernel) > 1
        columns = inputs * math.prod(kernel)
        if is_tucker:
            halves = {"a": (rank, out), "b": (rank, inputs)}
            cores: dict[str, Any] = {"t1": (rank, rank, *kernel), "t2": (rank, rank, *kernel)}
        else:
            halves, cores = {"a": (out, rank), "b": (rank, columns)}, {}
        shapes = {f"w{number}_{side}": halves[side] for number in (1, 2) for side in "ab"}
        is_narrow = COST * rank**2 * (out + columns) < out * columns
        super().__init__(base, width, shapes | cores, is_plain(base) and not is_tucker and is_narrow)

    def reset(self, generator: torch.Generator) -> None:
        self.fill(
            {
                name: torch.randn(tensor.shape, generator=generator) * SPREADS[name]
                for name, tensor in self.factors.items()
            }
        )

    def down_up(self, *factors: Tensor) -> tuple[Tensor, Tensor]:
        """Compute down (r², in[, k, k]) and up (out, r²[, 1, 1]) of the same ΔW."""
        w1_a, w1_b, w2_a, w2_b = factors
        (out, inputs, *kernel), square = shape_of(self.base_layer), self.width.rank**2
        up = (w1_a[:, :, None] * w2_a[:, None, :]).reshape(out, square, *[1 for _ in kernel])
        down = (w1_b[:, None, :] * w2_b[None, :, :]).reshape(square, inputs, *kernel)
        return down, up

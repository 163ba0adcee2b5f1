"""GLoRA layer.

W · a1 · a2 + b1 · b2 is one product of rank 2r, [W · a1, b1] · [a2; b2]. Over a plain Linear layer or 1×1 convolution the
layer computes LoRA's two narrow products, without a matrix of the weight's size.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import is_plain, shape_of
from lorapipe.training.adapter_layers.narrow_layer import NarrowLayer


class GloraLayer(NarrowLayer):
    """base(x) + strength · alpha / rank · (W · a1 · a2 + b1 · b2) x; b2 has the base's kernel, the others are 1×1."""

    algorithm: ClassVar[str] = "glora"

    def __init__(self, base: torch.nn.Module, width: Width) -> None:
        (out, inputs, *kernel), rank = shape_of(base), width.rank
        ones = [1 for _ in kernel]
        shapes = {
            "a1": (inputs, rank, *ones), "a2": (rank, inputs, *ones), "b1": (out, rank, *ones), "b2": (rank, inputs, *kernel)
        }  # fmt: skip
        super().__init__(base, width, shapes, is_plain(base) and math.prod(kernel) == 1)

    def reset(self, generator: torch.Generator) -> None:
        """Set a1 and b1 to kaiming-uniform(a=√5), a2 and b2 to 0, as LyCORIS does."""
        drawn = {name: torch.zeros(tensor.shape) for name, tensor in self.factors.items()}
        for name in ("a1", "b1"):
            torch.nn.init.kaiming_uniform_(drawn[name], a=math.sqrt(5), generator=generator)
        self.fill(drawn)

    def down_up(self, *factors: Tensor) -> tuple[Tensor, Tensor]:
        """Compute down (2r, in[, 1, 1]) and up (out, 2r[, 1, 1])."""
        a1, a2, b1, b2 = factors
        base: Any = self.base_layer
        through = (base.weight.flatten(1) @ a1.flatten(1).to(base.weight.dtype)).to(b1.dtype).reshape(b1.shape)
        return torch.cat([a2, b2]), torch.cat([through, b1], dim=1)

"""Layer that trains a dense difference."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import FactorsLayer, shape_of


class FullLayer(FactorsLayer):
    """base(x) + strength · (diff · x + diff_b)."""

    algorithm: ClassVar[str] = "full"

    def __init__(self, base: torch.nn.Module, width: Width, has_bias: bool = True) -> None:
        layer: Any = base
        bias = {"diff_b": shape_of(base)[:1]} if has_bias and layer.bias is not None else {}
        super().__init__(base, width, {"diff": shape_of(base), **bias})

    def reset(self, generator: torch.Generator) -> None:
        self.fill({name: torch.zeros(tensor.shape) for name, tensor in self.factors.items()})

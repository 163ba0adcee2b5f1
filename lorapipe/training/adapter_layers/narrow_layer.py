"""Layer of an update that is a product of two narrow matrices made from its factors, computed as LoRA's is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import FactorsLayer
from lorapipe.training.adapter_layers.products import Narrow, UpDown, how_of


class NarrowLayer(FactorsLayer):
    """Where `is_fused`, base and update are one operation, without a matrix of the weight's size."""

    def __init__(
        self, base: torch.nn.Module, width: Width, shapes: Mapping[str, Sequence[int]], is_fused: bool
    ) -> None:
        super().__init__(base, width, shapes)
        self._is_fused = is_fused

    @abstractmethod
    def down_up(self, *factors: Tensor) -> tuple[Tensor, Tensor]:
        """Compute down (n, in[, k, k]) and up (out, n[, 1, 1]) of ΔW from the factors, in their order, without the scale."""

    def forward(self, input: Tensor) -> Tensor:
        if not self._is_fused or (torch.is_grad_enabled() and (self.dropout or self.rank_dropout)):
            return super().forward(input)
        base: Any = self.base_layer
        narrow = self._narrow(self.factor_now())
        fused: Tensor = UpDown.apply(input, base.weight, base.bias, None, narrow, how_of(base), *narrow.tensors)
        return fused

    def narrow(self) -> Narrow | None:
        return self._narrow(1.0) if self._is_fused else None

    def _narrow(self, strength: float | Tensor) -> Narrow:
        return Narrow(self.down_up, tuple(self.factors.values()), strength * self.width.alpha / self.width.rank)

"""Layer that trains differences of a normalisation's weight and bias (LyCORIS' `train_norm`)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of


class NormLayer(AdapterLayer):
    """(x normalised) · (weight + strength · Δweight) + bias + strength · Δbias in place of a LayerNorm or GroupNorm."""

    algorithm: ClassVar[str] = "norm"

    def __init__(self, base: torch.nn.Module, has_bias: bool = True) -> None:
        super().__init__(base, Width(1, 1.0))
        names = ("weight", "bias") if has_bias else ("weight",)
        self.factors = torch.nn.ParameterDict(
            {name: torch.empty(tuple(self.weight.shape), device=device_of(base)) for name in names}
        )

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.factors)

    def reset(self, generator: torch.Generator) -> None:
        for tensor in self.tensors().values():
            tensor.data.zero_()

    def delta(self) -> Tensor:
        weight: Tensor = self.factors["weight"]
        return weight

    def forward(self, input: Tensor) -> Tensor:
        base: Any = self.base_layer
        factor = self.factor_now()
        output: Tensor = base(input)
        ours = {name: factor * tensor.to(input.dtype) for name, tensor in self.factors.items()}
        weight, bias = ours["weight"], ours.get("bias")
        if isinstance(base, torch.nn.GroupNorm):
            return output + torch.nn.functional.group_norm(input, base.num_groups, weight, bias, base.eps)
        return output + torch.nn.functional.layer_norm(input, base.normalized_shape, weight, bias, base.eps)

    def shrink(self, factor: Tensor) -> None:
        """Do nothing: the norm limit is for matrices, not for normalisations."""

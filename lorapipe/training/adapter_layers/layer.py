"""A frozen module with a trainable update beside it: the part of an adapter that each algorithm writes for itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.formats.algorithms import Algorithm
from lorapipe.training.adapter_layers.block_widths import Width


class AdapterLayer(torch.nn.Module):
    """base(x) + strength · update(x) in place of a Linear or Conv2d, whose output's precision stays the base's.

    The base is called as it is, so it may be quantised. A subclass makes its parameters (float32, on `device`) in
    `__init__`, names them in `tensors`, and gives them values in `reset`; the rest follows from its algorithm's ΔW. It
    may give a faster `update`, `forward` or `norm`.
    """

    algorithm: ClassVar[str]
    """The registered name of the algorithm whose tensors these are."""
    fast: ClassVar[tuple[str, ...]] = ()
    """Short names of the tensors that learn `lora_plus` times faster than the others."""

    strength: float = 1.0
    dropout: float = 0.0
    """Share of the update's input that is left out. Dropouts act where gradients are on: samples are exact."""
    rank_dropout: float = 0.0
    """Share of the update's rows (for LoRA: ranks) that is left out."""
    module_dropout: float = 0.0
    """Chance of the whole update to be left out."""

    def __init__(self, base: torch.nn.Module, width: Width) -> None:
        super().__init__()
        self.base_layer = base
        self.width = width

    # ------------------------------------------------------------------------------------------------ the algorithm's

    @abstractmethod
    def tensors(self) -> dict[str, torch.nn.Parameter]:
        """The trainable parameters by the algorithm's short names, in a fixed order."""

    @abstractmethod
    def reset(self, generator: torch.Generator) -> None:
        """Initial values, drawn on the CPU from the generator alone; ΔW is zero."""

    # ------------------------------------------------------------------------------------------- what follows from it

    def delta(self) -> Tensor:
        """ΔW at strength 1 in the shape of the module's weight, float32; gradients flow through it."""
        delta = Algorithm.of(self.algorithm).delta(self.tensors(), self.width.alpha)
        return delta.reshape(shape_of(self.base_layer))

    def update(self, x: Tensor) -> Tensor:
        """ΔW applied to the input, in the input's precision."""
        delta = self.delta()
        if self.rank_dropout and torch.is_grad_enabled():
            rows = [len(delta), *[1] * (delta.dim() - 1)]
            delta = delta * kept(rows, self.rank_dropout, delta.device) / (1 - self.rank_dropout)
        delta = delta.to(x.dtype)
        if delta.dim() == 2:
            return torch.nn.functional.linear(x, delta)
        base: Any = self.base_layer
        return torch.nn.functional.conv2d(x, delta, None, base.stride, base.padding, base.dilation)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.base_layer(input)
        x, factor = input, self.strength
        if torch.is_grad_enabled():
            x = torch.nn.functional.dropout(input, self.dropout)
            if self.module_dropout:
                factor *= float(torch.rand(()) >= self.module_dropout)
        return output + factor * self.update(x).to(output.dtype)

    def norm(self) -> Tensor:
        """The Frobenius norm of ΔW at strength 1, at least 1e-12; nobody waits for the device."""
        return self.delta().norm().clamp(min=1e-12)

    def shrink(self, factor: Tensor) -> None:
        """Multiply ΔW by a factor of 0 … 1."""
        ours = self.tensors()
        for name, tensor in Algorithm.of(self.algorithm).scaled(ours, factor).items():
            if tensor is not ours[name]:
                ours[name].copy_(tensor)

    # --------------------------------------------------------------------------------------------------- of the base

    @property
    def weight(self) -> Tensor:
        """The base's, for those who ask a module of its precision."""
        weight: Tensor = self.base_layer.weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The base's."""
        bias: Tensor | None = self.base_layer.bias
        return bias


def kept(shape: list[int], dropout: float, device: torch.device) -> Tensor:
    """A mask of ones, and zeros where something is left out."""
    return (torch.rand(shape, device=device) >= dropout).float()


def shape_of(base: torch.nn.Module) -> tuple[int, ...]:
    """The shape of a Linear's or Conv2d's weight, also where the weight is packed: (out, in) or (out, in, k, k)."""
    layer: Any = base
    if hasattr(layer, "in_features"):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size


def device_of(base: torch.nn.Module) -> torch.device:
    """Where a module is, by its first parameter or buffer."""
    for tensor in (*base.parameters(), *base.buffers()):
        return tensor.device
    return torch.device("cpu")

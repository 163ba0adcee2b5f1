"""A frozen module with a trainable update beside it: the part of an adapter that each algorithm writes for itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.products import Narrow, Rebuilt, how_of

MULTIPLIED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Numbers that matrix products take as they are; of the 8-bit ones none is."""


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
        return self.delta_of(self.tensors())

    def delta_of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """ΔW of tensors in place of its own."""
        algorithm = Algorithm.of(self.algorithm)
        weight = weight_of(self.base_layer) if algorithm.needs_weight(tensors) else None
        return algorithm.delta(tensors, self.width.alpha, weight).reshape(shape_of(self.base_layer))

    def update(self, x: Tensor) -> Tensor:
        """ΔW applied to the input, in the input's precision. ΔW is made again on the way back, and never kept."""
        ours = self.tensors()
        left: Tensor | float = 1.0
        if self.rank_dropout and torch.is_grad_enabled():
            shape = shape_of(self.base_layer)
            left = kept([shape[0], *[1] * (len(shape) - 1)], self.rank_dropout, x.device) / (1 - self.rank_dropout)

        def delta(*tensors: Tensor) -> Tensor:
            return self.delta_of(dict(zip(ours, tensors, strict=True))) * left

        bias = Algorithm.of(self.algorithm).delta_bias(ours)
        updated: Tensor = Rebuilt.apply(x, delta, bias, how_of(self.base_layer), *ours.values())
        return updated

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.base_layer(input)
        x = torch.nn.functional.dropout(input, self.dropout) if torch.is_grad_enabled() else input
        return output + self.factor_now() * self.update(x).to(output.dtype)

    def narrow(self) -> Narrow | None:
        """ΔW at strength 1 as two narrow products beside a plain base, where that is less work than ΔW in full."""
        return None

    def factor_now(self) -> float:
        """The strength; 0 in a step that leaves the module out."""
        left_out = torch.is_grad_enabled() and self.module_dropout and float(torch.rand(())) < self.module_dropout
        return 0.0 if left_out else self.strength

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


class FactorsLayer(AdapterLayer):
    """A layer whose parameters are matrices of given shapes, and nothing else."""

    def __init__(self, base: torch.nn.Module, width: Width, shapes: Mapping[str, Sequence[int]]) -> None:
        super().__init__(base, width)
        device = device_of(base)
        self.factors = torch.nn.ParameterDict(
            {name: torch.empty(*shape, device=device) for name, shape in shapes.items()}
        )

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.factors)

    def fill(self, values: Mapping[str, Tensor]) -> None:
        """Put values in."""
        with torch.no_grad():
            for name, tensor in values.items():
                self.factors[name].copy_(tensor)


def kept(shape: list[int], dropout: float, device: torch.device) -> Tensor:
    """A mask of ones, and zeros where something is left out."""
    return (torch.rand(shape, device=device) >= dropout).float()


def shape_of(base: torch.nn.Module) -> tuple[int, ...]:
    """The shape of a weight, also where it is packed: (out, in) of a Linear, (out, in, k, k) of a Conv2d, (n,) of a norm."""
    layer: Any = base
    if hasattr(layer, "in_features"):
        return layer.out_features, layer.in_features
    if not hasattr(layer, "out_channels"):  # a normalisation
        return tuple(layer.weight.shape)
    return layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size


def weight_of(base: torch.nn.Module) -> Tensor:
    """The base's weight, for updates that depend on it; `InputError` where it is packed."""
    weight: Any = base.weight
    if not weight.is_floating_point() or weight.shape != shape_of(base):
        raise InputError(
            "this adapter needs the base's weights, and they are quantised.", cure="Load a base of floats."
        )
    found: Tensor = weight.detach().float()
    return found


def is_norm(base: torch.nn.Module) -> bool:
    """Whether a module is a LayerNorm or a GroupNorm."""
    return isinstance(base, (torch.nn.LayerNorm, torch.nn.GroupNorm))


def is_plain(base: torch.nn.Module) -> bool:
    """Whether a module multiplies by a matrix of floating-point numbers, and does nothing else."""
    if type(base).forward not in (torch.nn.Linear.forward, torch.nn.Conv2d.forward) or "forward" in vars(base):
        return False
    weight: Any = base.weight
    return type(weight) is torch.nn.Parameter and type(weight.data) is torch.Tensor and weight.dtype in MULTIPLIED


def device_of(base: torch.nn.Module) -> torch.device:
    """Where a module is, by its first parameter or buffer."""
    for tensor in (*base.parameters(), *base.buffers()):
        return tensor.device
    return torch.device("cpu")

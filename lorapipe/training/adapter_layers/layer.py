"""Adapter layers: a frozen module with a trainable update. Each algorithm has its own subclass."""

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
"""Dtypes that matrix products accept; no 8-bit type is among them."""
SIZES = frozenset(
    "in_features out_features in_channels out_channels kernel_size stride padding dilation groups".split()  # noqa: SIM905
)
"""Attributes that say how large a Linear or Conv2d is, and how it moves."""


class AdapterLayer(torch.nn.Module):
    """base(x) + strength · update(x) in place of a Linear or Conv2d; the output keeps the base's dtype.

    The layer calls the base, which may be quantised. A subclass creates its parameters (float32, on the base's device) in
    `__init__`, names them in `tensors`, and initialises them in `reset`; everything else follows from its algorithm's ΔW. It
    may override `update`, `forward` or `norm` with something faster.
    """

    algorithm: ClassVar[str]
    """Registered name of the algorithm of its tensors."""
    fast: ClassVar[tuple[str, ...]] = ()
    """Short names of the tensors whose learning rate is multiplied by `lora_plus`."""

    strength: float = 1.0
    dropout: float = 0.0
    """Dropout of the update's input. All dropouts act only while gradients are enabled, so never in sampling."""
    rank_dropout: float = 0.0
    """Dropout of the update's rows (for LoRA: ranks)."""
    module_dropout: float = 0.0
    """Chance that a step leaves the whole update out."""
    copies: tuple[Tensor, ...] = ()
    """Copies of `trained`, which passes with gradients read in its place (`lorapipe.training.working_copy`); () for none."""

    def __init__(self, base: torch.nn.Module, width: Width) -> None:
        super().__init__()
        self.base_layer = base
        self.width = width

    # --------------------------------------------------------------------------------------------------- to implement

    @abstractmethod
    def tensors(self) -> dict[str, torch.nn.Parameter]:
        """Return the parameters by the algorithm's short names, in a fixed order; flags and frozen ones need no gradient."""

    @abstractmethod
    def reset(self, generator: torch.Generator) -> None:
        """Set initial values, with ΔW = 0; random numbers come from `generator` on the CPU alone."""

    # --------------------------------------------------------------------------------------------------- derived from ΔW

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Return those of `tensors` that are trained: neither flags nor frozen."""
        return Algorithm.of(self.algorithm).trained(self.tensors())

    def may_have_copies(self, dtype: torch.dtype) -> bool:
        """Return whether `forward` reads the trained tensors once, and only cast to `dtype`; it then heeds `copies`."""
        return False

    def adopt(self, fixed: Mapping[str, Tensor]) -> None:
        """Take over the flags and frozen tensors of existing weights; `InputError` where they are others than its own."""
        trained = self.trained()
        ours = {name: tensor for name, tensor in self.tensors().items() if name not in trained}
        if fixed.keys() != ours.keys():
            what = f"the weights have the settings {', '.join(fixed)}, and the adapter {', '.join(ours)}."
            raise InputError(what, cure="Use the adapter that the weights were trained with.")
        for name, tensor in fixed.items():
            ours[name].copy_(tensor.reshape(ours[name].shape))

    def delta(self) -> Tensor:
        """Compute ΔW at strength 1, in the shape of the module's weight, float32, differentiably."""
        return self.delta_of(self.tensors())

    def delta_of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Compute ΔW from these tensors instead of the layer's own."""
        algorithm = Algorithm.of(self.algorithm)
        weight = weight_of(self.base_layer) if algorithm.needs_weight(tensors) else None
        return algorithm.delta(tensors, self.width.alpha, weight).reshape(shape_of(self.base_layer))

    def update(self, x: Tensor) -> Tensor:
        """Apply ΔW to the input, in the input's dtype. The backward pass recomputes ΔW instead of keeping it."""
        ours, fixed = self.trained(), self.tensors()
        left: Tensor | float = 1.0
        if self.rank_dropout and torch.is_grad_enabled():
            shape = shape_of(self.base_layer)
            left = kept([shape[0], *[1] * (len(shape) - 1)], self.rank_dropout, x.device) / (1 - self.rank_dropout)

        def delta(*tensors: Tensor) -> Tensor:
            return self.delta_of({**fixed, **dict(zip(ours, tensors, strict=True))}) * left

        bias = Algorithm.of(self.algorithm).delta_bias(fixed, self.bias)
        updated: Tensor = Rebuilt.apply(x, delta, bias, how_of(self.base_layer), *ours.values())
        return updated

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.base_layer(input)
        x = torch.nn.functional.dropout(input, self.dropout) if torch.is_grad_enabled() else input
        return output + self.factor_now() * self.update(x).to(output.dtype)

    def narrow(self) -> Narrow | None:
        """Return ΔW at strength 1 as a low-rank product, where the base is plain and that is less work; else None."""
        return None

    def factor_now(self) -> float | Tensor:
        """Return the strength; 0 in a step in which module dropout leaves the module out, drawn on the base's device."""
        if not (self.module_dropout and torch.is_grad_enabled()):
            return self.strength
        return self.strength * kept([], self.module_dropout, device_of(self.base_layer))

    def norm(self) -> Tensor:
        """Compute the Frobenius norm of ΔW at strength 1, at least 1e-12, without synchronising with the device."""
        return self.delta().norm().clamp(min=1e-12)

    def shrink(self, factor: Tensor) -> None:
        """Multiply ΔW by a scalar factor of 0 … 1, in place."""
        ours = self.tensors()
        for name, tensor in Algorithm.of(self.algorithm).scaled(ours, factor).items():
            if tensor is not ours[name]:
                ours[name].copy_(tensor)

    # ------------------------------------------------------------------------------------------------------- the base's

    @property
    def weight(self) -> Tensor:
        """Weight of the base, for code that reads a module's dtype from it."""
        weight: Tensor = self.base_layer.weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """Bias of the base."""
        bias: Tensor | None = self.base_layer.bias
        return bias

    def __getattr__(self, name: str) -> Any:
        """Give the base's sizes as its own, so that another adapter's layer may lie around this one."""
        return getattr(self.base_layer, name) if name in SIZES else super().__getattr__(name)


class FactorsLayer(AdapterLayer):
    """Layer whose parameters are tensors of the given shapes (short name → shape)."""

    def __init__(self, base: torch.nn.Module, width: Width, shapes: Mapping[str, Sequence[int]]) -> None:
        super().__init__(base, width)
        device = device_of(base)
        self.factors = torch.nn.ParameterDict(
            {name: torch.empty(*shape, device=device) for name, shape in shapes.items()}
        )

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.factors)

    def fill(self, values: Mapping[str, Tensor]) -> None:
        """Copy values into the parameters."""
        with torch.no_grad():
            for name, tensor in values.items():
                self.factors[name].copy_(tensor)


def kept(shape: list[int], dropout: float, device: torch.device) -> Tensor:
    """Draw a dropout mask: 0 with probability `dropout`, else 1."""
    return (torch.rand(shape, device=device) >= dropout).float()


def shape_of(base: torch.nn.Module) -> tuple[int, ...]:
    """Return a weight's shape, also where it is packed: Linear (out, in), Conv2d (out, in, k, k), norm (n,)."""
    layer: Any = base
    if hasattr(layer, "in_features"):
        return layer.out_features, layer.in_features
    if not hasattr(layer, "out_channels"):  # a normalisation
        return tuple(layer.weight.shape)
    return layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size


def weight_of(base: torch.nn.Module) -> Tensor:
    """Return the base's weight as float32, for updates that depend on it; `InputError` where it is quantised."""
    weight: Any = base.weight
    if not weight.is_floating_point() or weight.shape != shape_of(base):
        raise InputError(
            "this adapter needs the base's weights, and they are quantised.", cure="Load a base of floats."
        )
    found: Tensor = weight.detach().float()
    return found


def is_norm(base: torch.nn.Module) -> bool:
    """Return whether a module is a LayerNorm or a GroupNorm."""
    return isinstance(base, (torch.nn.LayerNorm, torch.nn.GroupNorm))


def is_plain(base: torch.nn.Module) -> bool:
    """Return whether a module is an unmodified Linear or Conv2d with a floating-point weight."""
    if type(base).forward not in (torch.nn.Linear.forward, torch.nn.Conv2d.forward) or "forward" in vars(base):
        return False
    weight: Any = base.weight
    return type(weight) is torch.nn.Parameter and type(weight.data) is torch.Tensor and weight.dtype in MULTIPLIED


def device_of(base: torch.nn.Module) -> torch.device:
    """Return the device of a module's first parameter or buffer; the CPU where it has none."""
    for tensor in (*base.parameters(), *base.buffers()):
        return tensor.device
    return torch.device("cpu")

"""LoRA layer: a frozen module with the update up · down.

Why not PEFT's: PEFT computes the update in the parameters' float32 and keeps a float32 copy of every input for it, which
over a half-precision base takes half as much memory again. Here the parameters are float32 and are cast to the base's dtype
where they are used, as in autocast, and the input is saved once. Base and update are one autograd function: the product
accumulates into the base's output (addmm), the scale is applied on the narrow side, and the autograd graph has a fifth of
the nodes, which matters on a fast GPU that waits for Python.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeAlias

import torch

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, is_plain, kept, shape_of
from lorapipe.training.adapter_layers.noise_levels import NoiseLevels
from lorapipe.training.adapter_layers.products import POINTWISE, Narrow, add_product, applied_back, rows

Factor: TypeAlias = float | torch.Tensor
"""Factor on the narrow side: the scale, or a tensor with one for each sample and rank."""
Gradients: TypeAlias = tuple[torch.Tensor | None, ...]


class _Linear(torch.autograd.Function):
    """x · Wᵀ + b + factor · (x · downᵀ) · upᵀ in x's dtype; W and b are frozen.

    Saves down and up for the backward pass, not their cast copies.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        factor: Factor,
        dropout: float,
    ) -> torch.Tensor:
        low = torch.nn.functional.linear(x, down.to(x.dtype))
        ctx.factor = _dropped(factor, dropout, low)
        low = _times(low, ctx.factor)
        out = torch.nn.functional.linear(x, weight, bias)
        add_product(out, low, up.to(x.dtype).T)
        ctx.save_for_backward(x, low, weight, down, up)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Gradients:
        x, low, weight, down, up = ctx.saved_tensors
        narrow = _times(gradient @ up.to(gradient.dtype), ctx.factor)
        of_up = rows(gradient).T @ rows(low)
        of_down = rows(narrow).T @ rows(x)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
            add_product(of_x, narrow, down.to(gradient.dtype))
        return of_x, None, None, of_down.to(down.dtype), of_up.to(up.dtype), None, None


class _Conv2d(torch.autograd.Function):
    """`_Linear` for a convolution; `how` is (stride, padding, dilation) of the base and of down. Up is 1×1."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        factor: Factor,
        dropout: float,
        *how: Any,
    ) -> torch.Tensor:
        low = torch.nn.functional.conv2d(x, down.to(x.dtype), None, *how)
        ctx.factor, ctx.how = _dropped(factor, dropout, low), how
        low = _times(low, ctx.factor)
        out = torch.nn.functional.conv2d(x, weight, bias, *how)
        out += torch.nn.functional.conv2d(low, up.to(x.dtype))
        ctx.save_for_backward(x, low, weight, down, up)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Gradients:
        x, low, weight, down, up = ctx.saved_tensors
        through = ctx.needs_input_grad[0]
        narrow, of_up = applied_back(gradient, low, up.to(gradient.dtype), POINTWISE, True, True)
        of_x, of_down = applied_back(_times(narrow, ctx.factor), x, down.to(gradient.dtype), ctx.how, through, True)
        if through:
            of_x += applied_back(gradient, x, weight.to(gradient.dtype), ctx.how, True, False)[0]
        return of_x, None, None, of_down.to(down.dtype), of_up.to(up.dtype), None, None, *[None] * len(ctx.how)


def _times(low: torch.Tensor, factor: Factor) -> torch.Tensor:
    """Multiply a tensor by a factor in place; no one else may hold the tensor."""
    if isinstance(factor, torch.Tensor):
        return low.mul_(factor.to(low.dtype))
    return low if factor == 1 else low.mul_(factor)


def _dropped(factor: Factor, dropout: float, low: torch.Tensor) -> Factor:
    """Multiply a factor by an inverted-dropout mask of the narrow side."""
    if not dropout:
        return factor
    return factor * (torch.rand_like(low) >= dropout) / (1 - dropout)


class LoraLayer(AdapterLayer):
    """base(x) + strength · alpha / rank · up(dropout(down(x))); down has the base's kernel, up is 1×1.

    Over a plain floating-point Linear or Conv2d, base and update are one autograd function. Over any other base, such as a
    quantised one, the layer calls the base and adds the update.
    """

    algorithm: ClassVar = "lora"
    fast: ClassVar = ("up",)

    levels: NoiseLevels | None = None
    """Those of the pass that is computed, where fewer ranks are trained at high noise."""

    def __init__(self, base: torch.nn.Module, width: Width, noise_rank: int = 0) -> None:
        super().__init__(base, width)
        self.noise_rank = noise_rank
        self.lora_down, self.lora_up = _pair(base, width.rank)
        self._is_fused = is_plain(base)

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return {"down": self.lora_down.weight, "up": self.lora_up.weight}

    def reset(self, generator: torch.Generator) -> None:
        """Set up to 0 and down to kaiming-uniform(a=√5), as kohya does."""
        ours = self.tensors()
        initial = torch.empty(ours["down"].shape)
        torch.nn.init.kaiming_uniform_(initial, a=math.sqrt(5), generator=generator)
        with torch.no_grad():
            ours["down"].copy_(initial)
            ours["up"].zero_()

    def update(self, x: torch.Tensor) -> torch.Tensor:
        """Apply up · dropout · down to the input."""
        base: Any = self.base_layer
        down, up = (tensor.to(x.dtype) for tensor in self.tensors().values())
        if down.dim() == 2:
            low = torch.nn.functional.linear(x, down)
        else:
            low = torch.nn.functional.conv2d(x, down, None, base.stride, base.padding, base.dilation)
        factor = _dropped(self._factor(x), self._dropout_now, low)
        low = low * (factor.to(low.dtype) if isinstance(factor, torch.Tensor) else factor)
        return torch.nn.functional.linear(low, up) if up.dim() == 2 else torch.nn.functional.conv2d(low, up)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        base: Any = self.base_layer
        if not self._is_fused:
            output: torch.Tensor = base(input)
            return output + self.update(input).to(output.dtype)
        has_copies = bool(self.copies) and torch.is_grad_enabled()
        down, up = self.copies if has_copies else (self.lora_down.weight, self.lora_up.weight)
        matrices = base.weight, base.bias, down, up
        left = self._factor(input), self._dropout_now
        if isinstance(base, torch.nn.Linear):
            fused: torch.Tensor = _Linear.apply(input, *matrices, *left)
        else:
            fused = _Conv2d.apply(input, *matrices, *left, base.stride, base.padding, base.dilation)
        return fused

    def may_have_copies(self, dtype: torch.dtype) -> bool:
        return self._is_fused and self.weight.dtype == dtype

    def narrow(self) -> Narrow | None:
        scale = self.width.alpha / self.width.rank
        return Narrow(_down_and_up, tuple(self.tensors().values()), scale) if self._is_fused else None

    def norm(self) -> torch.Tensor:
        """Compute ‖s · up · down‖² = s² tr(upᵀup · down downᵀ), with no matrix larger than rank × rank."""
        down, up = (tensor.flatten(1) for tensor in self.tensors().values())
        scale = self.width.alpha / self.width.rank
        return ((up.T @ up) * (down @ down.T)).sum().clamp(min=1e-24).sqrt() * scale

    def shrink(self, factor: torch.Tensor) -> None:
        """Multiply up and down by √factor each, as kohya does."""
        root = factor.sqrt()
        for tensor in self.tensors().values():
            tensor.mul_(root)

    @property
    def _dropout_now(self) -> float:
        return self.dropout if torch.is_grad_enabled() else 0.0

    def _factor(self, input: torch.Tensor) -> Factor:
        """Return strength · alpha / rank, times the dropout masks of ranks (inverted dropout) and of the module."""
        factor: Factor = self.strength * self.width.alpha / self.width.rank
        if not torch.is_grad_enabled():
            return factor
        if self.rank_dropout:
            samples, rank, others = input.shape[0], self.width.rank, [1] * (input.ndim - 2)
            shape = [samples, rank, *others] if input.ndim == 4 else [samples, *others, rank]
            factor = factor * kept(shape, self.rank_dropout, input.device) / (1 - self.rank_dropout)
        if self.levels is not None:
            mask = self.levels.mask(self.width.rank, self.noise_rank, input.ndim)
            factor = factor if mask is None else factor * mask.to(input.device)
        if self.module_dropout:
            factor = factor * kept([1] * input.ndim, self.module_dropout, input.device)
        return factor


def _down_and_up(down: torch.Tensor, up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return down, up


def _pair(base: torch.nn.Module, rank: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    layer: Any = base
    (out, inside, *kernel), device = shape_of(base), device_of(base)
    if not kernel:
        down = torch.nn.Linear(inside, rank, bias=False, device=device)
        return down, torch.nn.Linear(rank, out, bias=False, device=device)
    assert layer.groups == 1, "targets are Linear and whole convolutions"
    how: Any = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    convolution = torch.nn.Conv2d(inside, rank, *how, bias=False, device=device)
    return convolution, torch.nn.Conv2d(rank, out, 1, bias=False, device=device)

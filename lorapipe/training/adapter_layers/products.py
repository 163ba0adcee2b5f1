"""Products with a weight and their gradients, for layers with a hand-written backward pass.

`how` is (stride, padding, dilation) for a convolution, and empty for a Linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

How: TypeAlias = tuple[Any, ...]
Gradients: TypeAlias = tuple[Any, ...]
POINTWISE: How = ([1, 1], [0, 0], [1, 1])


def how_of(base: torch.nn.Module) -> How:
    """Return `how` of a Linear layer or a convolution."""
    layer: Any = base
    return () if hasattr(layer, "in_features") else (layer.stride, layer.padding, layer.dilation)


def applied(x: Tensor, weight: Tensor, bias: Tensor | None, how: How) -> Tensor:
    """Apply a Linear layer or convolution with this weight to x."""
    if not how:
        return torch.nn.functional.linear(x, weight, bias)
    return torch.nn.functional.conv2d(x, weight, bias, *how)


def applied_back(gradient: Tensor, x: Tensor, weight: Tensor, how: How, of_x: bool, of_weight: bool) -> tuple[Any, Any]:
    """Return the gradients of `applied` with respect to x and to the weight; None where not asked for."""
    if not how:
        return gradient @ weight if of_x else None, rows(gradient).T @ rows(x) if of_weight else None
    wanted = [of_x, of_weight, False]
    found = torch.ops.aten.convolution_backward(gradient, x, weight, None, *how, False, [0, 0], 1, wanted)
    return found[0], found[1]


def rows(tensor: Tensor) -> Tensor:
    """Reshape (…, n) to (N, n)."""
    return tensor.reshape(-1, tensor.shape[-1])


def add_product(to: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left · right to a tensor in place; no one else may hold the tensor."""
    to.view(-1, to.shape[-1]).addmm_(rows(left), right)


def tracked(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the same values as leaves of a new autograd graph, for recomputation."""
    return [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in tensors]


class Rebuilt(torch.autograd.Function):
    """`applied(x, make(*tensors), bias, how)` that saves only x and the tensors.

    The backward pass calls `make` again, so that no full ΔW is kept; `make` must be deterministic.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, make: Callable[..., Tensor], bias: Tensor | None, how: How, *tensors: Tensor
    ) -> Tensor:
        ctx.make, ctx.how, ctx.has_bias = make, how, bias is not None
        ctx.save_for_backward(x, *tensors)
        return applied(x, make(*tensors).to(x.dtype), None if bias is None else bias.to(x.dtype), how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        x, *tensors = ctx.saved_tensors
        leaves = tracked(tensors)
        with torch.enable_grad():
            weight = ctx.make(*leaves)
        cast = weight.detach().to(gradient.dtype)
        of_x, of_weight = applied_back(gradient, x, cast, ctx.how, ctx.needs_input_grad[0], True)
        of_bias = _sum_to_channel(gradient, ctx.how) if ctx.has_bias else None
        return (
            of_x, None, of_bias, None,
            *torch.autograd.grad(weight, leaves, of_weight.reshape(weight.shape).to(weight.dtype), allow_unused=True),
        )  # fmt: skip


class Recomputed(torch.autograd.Function):
    """`function(x, *tensors)` that saves only x and the tensors; the backward pass computes it again (checkpointing)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x, *tensors)
        return function(x, *tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        x, *tensors = ctx.saved_tensors
        leaves, input = tracked(tensors), x.detach().requires_grad_(ctx.needs_input_grad[0])
        with torch.enable_grad():
            output = ctx.function(input, *leaves)
        asked = [input, *leaves] if ctx.needs_input_grad[0] else leaves
        found = torch.autograd.grad(output, asked, gradient)
        of_x, of_tensors = (found[0], found[1:]) if ctx.needs_input_grad[0] else (None, found)
        return (of_x, None, *of_tensors)


@dataclass(frozen=True)
class Narrow:
    """Update as a low-rank product: `make(*tensors)` gives down (r, in[, k, k]) and up (out, r[, 1, 1])."""

    make: Callable[..., tuple[Tensor, Tensor]]
    tensors: tuple[Tensor, ...]
    scale: float | Tensor


class UpDown(torch.autograd.Function):
    """base(c ⊙ x) + scale · (c ⊙ x) · downᵀ · upᵀ, see `Narrow`; `inputs` is c (in,), or None for 1.

    Saves only x and the tensors; the backward pass computes down, up and the narrow activations again.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, inputs: Tensor | None, narrow: Narrow, how: How,
        *tensors: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.make, ctx.scale, ctx.how = narrow.make, narrow.scale, how
        ctx.save_for_backward(x, weight, inputs, *tensors)
        down, up = (each.to(x.dtype) for each in narrow.make(*tensors))
        x = _times(x, inputs, how)
        low = applied(x, down, None, how).mul_(narrow.scale)
        out = applied(x, weight, bias, how)
        if how:
            out += torch.nn.functional.conv2d(low, up)
        else:
            add_product(out, low, up.T)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        plain, weight, inputs, *tensors = ctx.saved_tensors
        leaves, how = tracked(tensors), ctx.how
        x, of_input = _times(plain, inputs, how), ctx.needs_input_grad[0] or inputs is not None
        with torch.enable_grad():
            made = ctx.make(*leaves)
        down, up = (each.detach().to(x.dtype) for each in made)
        low = applied(x, down, None, how).mul_(ctx.scale)
        narrow, of_up = applied_back(gradient, low, up, how and POINTWISE, True, True)
        narrow *= ctx.scale
        of_x = applied_back(gradient, x, weight, how, True, False)[0] if of_input else None
        of_x, of_down = _back_through_down(narrow, x, down, how, of_x)
        of_inputs = None
        if inputs is not None and of_x is not None:
            of_inputs = _sum_to_channel(of_x * plain, how).to(inputs.dtype)
            of_x = _times(of_x, inputs, how) if ctx.needs_input_grad[0] else None
        found = [each.to(whole.dtype) for each, whole in zip((of_down, of_up), made, strict=True)]
        return (of_x, None, None, of_inputs, None, None, *torch.autograd.grad(made, leaves, found))


def _back_through_down(
    narrow: Tensor, x: Tensor, down: Tensor, how: How, of_x: Tensor | None
) -> tuple[Tensor | None, Tensor]:
    """Add the gradient through down to `of_x` (None: not wanted); return (`of_x`, gradient of down)."""
    if of_x is not None and not how:
        add_product(of_x, narrow, down)
        return of_x, rows(narrow).T @ rows(x)
    through, of_down = applied_back(narrow, x, down, how, of_x is not None, True)
    return None if of_x is None else of_x.add_(through), of_down


def _times(x: Tensor, inputs: Tensor | None, how: How) -> Tensor:
    """Multiply each input channel of x by its factor."""
    if inputs is None:
        return x
    return x * inputs.to(x.dtype).reshape(-1, *([1, 1] if how else []))


def _sum_to_channel(tensor: Tensor, how: How) -> Tensor:
    return tensor.float().sum([axis for axis in range(tensor.dim()) if axis != _channel(how, tensor)])


def _channel(how: How, tensor: Tensor) -> int:
    """Return the channel axis."""
    return 1 if how else tensor.dim() - 1

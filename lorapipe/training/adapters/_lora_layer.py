"""A frozen module with the update up · down beside it.

Our own rather than PEFT's. PEFT computes the update in the parameters' float32 and keeps a float32 copy of every input for
it: over a half-precision base half as much memory again. Here the parameters are float32, and cast to the base's precision
where they are used, as autocast does it; the input is kept once for all who read it. And base and update are one
operation, forward and backward: the update is added by the product that makes it, the scale is applied on the narrow side,
and a training step, which on a fast GPU waits for Python, has a fifth of the nodes to walk.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

Factor: TypeAlias = float | torch.Tensor
"""What the narrow side is multiplied by: the scale, or one for each sample and rank."""
Gradients: TypeAlias = tuple[torch.Tensor | None, ...]


class _Linear(torch.autograd.Function):
    """x · Wᵀ + b + factor · (x · downᵀ) · upᵀ in the precision of x, W and b frozen.

    Keeps down and up as they are for the way back, not their cast copies.
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
        _add_product(out, low, up.to(x.dtype).T)
        ctx.save_for_backward(x, low, weight, down, up)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Gradients:
        x, low, weight, down, up = ctx.saved_tensors
        narrow = _times(gradient @ up.to(gradient.dtype), ctx.factor)
        of_up = _rows(gradient).T @ _rows(low)
        of_down = _rows(narrow).T @ _rows(x)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
            _add_product(of_x, narrow, down.to(gradient.dtype))
        return of_x, None, None, of_down.to(down.dtype), of_up.to(up.dtype), None, None


class _Conv2d(torch.autograd.Function):
    """As `_Linear`, a convolution; `how` is its stride, padding and dilation, which down shares. Up is 1×1."""

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
        narrow, of_up = _convolved_back(gradient, low, up, ([1, 1], [0, 0], [1, 1]), True, True)
        of_x, of_down = _convolved_back(_times(narrow, ctx.factor), x, down, ctx.how, through, True)
        if through:
            of_x += _convolved_back(gradient, x, weight, ctx.how, True, False)[0]
        return of_x, None, None, of_down.to(down.dtype), of_up.to(up.dtype), None, None, *[None] * len(ctx.how)


def _convolved_back(
    gradient: torch.Tensor, input: torch.Tensor, weight: torch.Tensor, how: Any, of_input: bool, of_weight: bool
) -> tuple[Any, Any]:
    """A convolution's gradients with respect to its input and its weight, where they are asked for."""
    cast, wanted = weight.to(gradient.dtype), [of_input, of_weight, False]
    found = torch.ops.aten.convolution_backward(gradient, input, cast, None, *how, False, [0, 0], 1, wanted)
    return found[0], found[1]


def _times(low: torch.Tensor, factor: Factor) -> torch.Tensor:
    """A tensor nobody else has, times a factor."""
    if isinstance(factor, torch.Tensor):
        return low.mul_(factor.to(low.dtype))
    return low if factor == 1 else low.mul_(factor)


def _dropped(factor: Factor, dropout: float, low: torch.Tensor) -> Factor:
    """A factor with some of the numbers on the narrow side left out, the others making up for them."""
    if not dropout:
        return factor
    return factor * (torch.rand_like(low) >= dropout) / (1 - dropout)


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    """(…, n) as (N, n)."""
    return tensor.reshape(-1, tensor.shape[-1])


def _add_product(to: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left · right to a tensor nobody else has."""
    to.view(-1, to.shape[-1]).addmm_(_rows(left), right)


class LoraLayer(torch.nn.Module):
    """base(x) + scaling · up(dropout(down(x))), of a Linear or a Conv2d; down has the base's kernel, up is 1×1.

    Dropouts are on where gradients are, so that the frozen base can stay in eval mode and samples are exact.
    """

    dropout = rank_dropout = module_dropout = 0.0
    """Shares of what goes from down to up, of the ranks of each sample, and of whole updates, that are left out."""

    def __init__(self, base: torch.nn.Module, rank: int, scaling: float) -> None:
        super().__init__()
        self.base_layer = base
        self.scaling = scaling
        self.lora_down, self.lora_up = _pair(base, rank)

    @property
    def weight(self) -> torch.nn.Parameter:
        """The base's, for those who ask a module of its precision."""
        weight = self.base_layer.weight
        assert isinstance(weight, torch.nn.Parameter)
        return weight

    @property
    def bias(self) -> Any:
        """The base's."""
        return self.base_layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """See the class; the output is in the base's precision."""
        dropout = self.dropout if torch.is_grad_enabled() else 0.0
        matrices = self.weight, self.bias, self.lora_down.weight, self.lora_up.weight
        left = self._factor(input), dropout
        base: Any = self.base_layer
        if isinstance(base, torch.nn.Linear):
            output: torch.Tensor = _Linear.apply(input, *matrices, *left)
        else:
            output = _Conv2d.apply(input, *matrices, *left, base.stride, base.padding, base.dilation)
        return output

    def _factor(self, input: torch.Tensor) -> Factor:
        """The scale; where ranks or the module are left out, 0. Ranks that are kept make up for those that are not."""
        factor: Factor = self.scaling
        if not torch.is_grad_enabled():
            return factor
        if self.rank_dropout:
            samples, rank, others = input.shape[0], self.lora_down.weight.shape[0], [1] * (input.ndim - 2)
            shape = [samples, rank, *others] if input.ndim == 4 else [samples, *others, rank]
            factor = factor * _kept(shape, self.rank_dropout, input.device) / (1 - self.rank_dropout)
        if self.module_dropout:
            factor = factor * _kept([1] * input.ndim, self.module_dropout, input.device)
        return factor


def _kept(shape: list[int], dropout: float, device: torch.device) -> torch.Tensor:
    return (torch.rand(shape, device=device) >= dropout).float()


def _pair(base: torch.nn.Module, rank: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    device = base.weight.device
    assert isinstance(device, torch.device)
    if isinstance(base, torch.nn.Linear):
        down = torch.nn.Linear(base.in_features, rank, bias=False, device=device)
        return down, torch.nn.Linear(rank, base.out_features, bias=False, device=device)
    assert isinstance(base, torch.nn.Conv2d) and base.groups == 1, "targets are Linear and whole convolutions"
    kernel: Any = (base.kernel_size, base.stride, base.padding, base.dilation)
    convolution = torch.nn.Conv2d(base.in_channels, rank, *kernel, bias=False, device=device)
    return convolution, torch.nn.Conv2d(rank, base.out_channels, 1, bias=False, device=device)

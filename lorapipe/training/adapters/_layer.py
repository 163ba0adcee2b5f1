"""A frozen module with the update up · down beside it.

Our own rather than PEFT's, for one reason: PEFT computes the update in the parameters' float32 and keeps a float32 copy of
every input for it: over a half-precision base half as much memory again. Here the parameters are float32, and cast to
the base's precision where they are used, as autocast does it; the input is kept once for all who read it.
"""

from __future__ import annotations

from typing import Any

import torch


class _CastLinear(torch.autograd.Function):
    """x · wᵀ in the precision of x. Keeps w as it is for the way back, not the cast copy: all of them are 9 MB of SD1.5."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        return torch.nn.functional.linear(input, weight.to(input.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        input, weight = ctx.saved_tensors
        of_input = gradient @ weight.to(gradient.dtype) if ctx.needs_input_grad[0] else None
        of_weight = gradient.flatten(0, -2).T @ input.flatten(0, -2)
        return of_input, of_weight.to(weight.dtype)


class _CastConv2d(torch.autograd.Function):
    """As `_CastLinear`, a convolution; `how` is its stride, padding and dilation."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight: torch.Tensor, *how: Any) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        ctx.how = how
        return torch.nn.functional.conv2d(input, weight.to(input.dtype), None, *how)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], True, False]
        cast = weight.to(input.dtype)
        of_input, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient, input, cast, None, *ctx.how, False, [0, 0], 1, wanted
        )
        return of_input, of_weight.to(weight.dtype), None, None, None


class _Linear(torch.nn.Linear):
    """Linear without a bias, computed in the precision of its input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.dtype == self.weight.dtype:
            return torch.nn.functional.linear(input, self.weight)
        output: torch.Tensor = _CastLinear.apply(input, self.weight)
        return output


class _Conv2d(torch.nn.Conv2d):
    """Conv2d without a bias, computed in the precision of its input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        how = self.stride, self.padding, self.dilation
        if input.dtype == self.weight.dtype:
            return torch.nn.functional.conv2d(input, self.weight, None, *how)
        output: torch.Tensor = _CastConv2d.apply(input, self.weight, *how)
        return output


class UpDownLayer(torch.nn.Module):
    """base(x) + scaling · up(dropout(down(x))), of a Linear or a Conv2d; down has the base's kernel, up is 1×1."""

    def __init__(self, base: torch.nn.Module, rank: int, scaling: float) -> None:
        super().__init__()
        self.base_layer = base
        self.scaling = scaling
        self.lora_dropout: torch.nn.Module = torch.nn.Identity()
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
        result: torch.Tensor = self.base_layer(input)
        return result + self.lora_up(self.lora_dropout(self.lora_down(input))) * self.scaling


def _pair(base: torch.nn.Module, rank: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    device = base.weight.device
    assert isinstance(device, torch.device)
    if isinstance(base, torch.nn.Linear):
        down = _Linear(base.in_features, rank, bias=False, device=device)
        return down, _Linear(rank, base.out_features, bias=False, device=device)
    assert isinstance(base, torch.nn.Conv2d) and base.groups == 1, "targets are Linear and whole convolutions"
    kernel: Any = (base.kernel_size, base.stride, base.padding, base.dilation)
    convolution = _Conv2d(base.in_channels, rank, *kernel, bias=False, device=device)
    return convolution, _Conv2d(rank, base.out_channels, 1, bias=False, device=device)

"""Optimizer wrapper for weights trained in place: fused backward pass, stochastic rounding, fp32 master copies.

With `fused`, a hook of the backward pass updates each parameter as soon as its gradient is complete and frees the gradient,
so that gradients never exist together (torch's `register_post_accumulate_grad_hook`; sd-scripts' `fused_backward_pass`,
which also clips each tensor's gradient separately).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Weight:
    """A trained tensor of the base.

    `live` is the module's own parameter, `original` its original value in host memory. `learning` is the optimizer's
    parameter: the live one, a master copy in fp32, or for stochastic rounding a placeholder that has values only during its
    step.
    """

    live: torch.nn.Parameter
    original: Tensor
    learning: torch.nn.Parameter | None = None
    is_rounded: bool = False

    @property
    def kept(self) -> torch.nn.Parameter:
        """The tensor that holds the training's state between steps."""
        return self.live if self.is_rounded or self.learning is None else self.learning

    @torch.no_grad()
    def begin(self, rounded: bool) -> None:
        """Require gradients and create `learning`; `rounded` for stochastic rounding of a half-precision weight."""
        self.live.requires_grad_(True)
        if self.live.dtype == torch.float32:
            self.learning = self.live
            return
        self.is_rounded = rounded
        start = placeholder(self.live) if rounded else self.live.float()
        self.learning = torch.nn.Parameter(start)

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the trained values into the module's parameter."""
        if self.kept is not self.live:
            self.live.copy_(self.kept)

    @torch.no_grad()
    def set(self, value: Tensor) -> None:
        """Set the trained values."""
        self.kept.copy_(value)
        self.refresh()

    def restore(self) -> None:
        """Restore the original value, bit for bit, and stop requiring gradients."""
        self.live.requires_grad_(False)
        self.live.grad = None
        if self.original.device == self.live.device:
            self.live.data = self.original
        else:
            self.live.data.copy_(self.original)


def placeholder(like: Tensor) -> Tensor:
    """Return a float32 tensor of this shape that takes no memory."""
    return torch.zeros((), device=like.device).expand(like.shape)


class InPlaceOptimizer(torch.optim.Optimizer):
    """Updates weights with an `inner` optimizer that was built over their `learning` parameters.

    With `fused` or stochastic rounding, it updates them one at a time; the inner optimizer's step of a parameter must then
    not depend on other parameters.
    """

    def __init__(  # the base class's is for optimizers with state of their own
        self, inner: torch.optim.Optimizer, weights: Sequence[Weight], fused: bool, max_grad_norm: float
    ) -> None:
        self._inner, self._weights = inner, weights
        self._fused, self._max_grad_norm = fused, max_grad_norm
        self._mirror()
        self._group = {id(p): place for place, group in enumerate(inner.param_groups) for p in group["params"]}
        moved = [weight for weight in weights if fused or weight.learning is not weight.live]
        self._hooks = [weight.live.register_post_accumulate_grad_hook(self._hook(weight)) for weight in moved]

    def _mirror(self) -> None:
        self.param_groups, self.state, self.defaults = (
            self._inner.param_groups,
            self._inner.state,
            self._inner.defaults,
        )

    def remove_hooks(self) -> None:
        """Remove the hooks from the weights."""
        for hook in self._hooks:
            hook.remove()

    def _hook(self, weight: Weight) -> Callable[[Tensor], None]:
        """Return a hook that moves a gradient to the optimizer's parameter and, with `fused`, updates that."""

        def moved(live: Tensor) -> None:
            learning = weight.learning
            assert learning is not None and live.grad is not None
            if learning is not live:
                found = live.grad.float()
                live.grad = None
                learning.grad = found if learning.grad is None else learning.grad.add_(found)
            if self._fused:
                if self._max_grad_norm:
                    torch.nn.utils.clip_grad_norm_([learning], self._max_grad_norm)
                self._step(weight)
                learning.grad = None

        return moved

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update all weights that have a gradient."""
        if not self._fused and not any(weight.is_rounded for weight in self._weights):
            self._inner.step()
            for weight in self._weights:
                weight.refresh()
            return
        for weight in self._weights:
            if weight.learning is not None and weight.learning.grad is not None:
                self._step(weight)

    @torch.no_grad()
    def _step(self, weight: Weight) -> None:
        """Update one weight, by showing it alone to the inner optimizer."""
        learning, groups = weight.learning, self._inner.param_groups
        assert learning is not None
        group = groups[self._group[id(learning)]]
        members, group["params"] = group["params"], [learning]
        self._inner.param_groups = [group]
        if weight.is_rounded:
            empty, learning.data = learning.data, weight.live.float()
        try:
            self._inner.step()
        finally:
            self._inner.param_groups, group["params"] = groups, members
        if weight.is_rounded:
            round_stochastically(learning.data, weight.live.data)
            learning.data = empty
        else:
            weight.refresh()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Free the gradients."""
        for weight in self._weights:
            weight.live.grad = None
            if weight.learning is not None:
                weight.learning.grad = None

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._inner.load_state_dict(state_dict)
        self._mirror()


def round_stochastically(source: Tensor, target: Tensor) -> None:
    """Round float32 to bf16 stochastically: unbiased, the probability of each neighbour falls with its distance.

    Adds random bits below those that bf16 keeps, and truncates (Zamirai et al. 2020, arXiv:2010.06192). Draws from the
    device's default generator, which the loop seeds at each step.
    """
    bits = source.view(torch.int32)
    rounded = (bits + torch.randint(0, 1 << 16, bits.shape, dtype=torch.int32, device=bits.device)) & -(1 << 16)
    target.copy_(torch.where(source.isfinite(), rounded.view(torch.float32), source))

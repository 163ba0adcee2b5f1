"""An optimizer of weights that are trained in place: fused backward and step, stochastic rounding, copies in fp32.

With `fused`, a parameter is stepped by a hook of the backward pass as soon as its gradient is complete, and the gradient is
freed, so that gradients never exist together (torch's `register_post_accumulate_grad_hook`; sd-scripts'
`fused_backward_pass`, which clips each tensor's gradient for itself too).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Weight:
    """A tensor of the base that is trained.

    `live` is the module's own parameter, `original` what it held, in host memory. `learning` is what the optimizer steps:
    the live one, a copy in fp32, or for stochastic rounding a stand-in that has numbers only while it is stepped.
    """

    live: torch.nn.Parameter
    original: Tensor
    learning: torch.nn.Parameter | None = None
    is_rounded: bool = False

    @property
    def kept(self) -> torch.nn.Parameter:
        """What outlasts a step: the state of the training."""
        return self.live if self.is_rounded or self.learning is None else self.learning

    @torch.no_grad()
    def begin(self, rounded: bool) -> None:
        """Let it learn."""
        self.live.requires_grad_(True)
        if self.live.dtype == torch.float32:
            self.learning = self.live
            return
        self.is_rounded = rounded
        start = placeholder(self.live) if rounded else self.live.float()
        self.learning = torch.nn.Parameter(start)

    @torch.no_grad()
    def refresh(self) -> None:
        """Compute with what has been learnt."""
        if self.kept is not self.live:
            self.live.copy_(self.kept)

    @torch.no_grad()
    def set(self, value: Tensor) -> None:
        """Put numbers in."""
        self.kept.copy_(value)
        self.refresh()

    def restore(self) -> None:
        """Be what it was, bit for bit."""
        self.live.requires_grad_(False)
        self.live.grad = None
        if self.original.device == self.live.device:
            self.live.data = self.original
        else:
            self.live.data.copy_(self.original)


def placeholder(like: Tensor) -> Tensor:
    """A tensor of a shape, float32, that takes no memory."""
    return torch.zeros((), device=like.device).expand(like.shape)


class InPlaceOptimizer(torch.optim.Optimizer):
    """Steps weights with another optimizer, which has been built over their `learning` parameters.

    One after another where it is `fused` or the weights are rounded; then that optimizer's step of a parameter may depend on
    no other parameter.
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
        """Take the hooks off the weights."""
        for hook in self._hooks:
            hook.remove()

    def _hook(self, weight: Weight) -> Callable[[Tensor], None]:
        """Move a gradient to where it is stepped, and with `fused` step it."""

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
        """Step what has a gradient."""
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
        """Step one weight: to the inner optimizer it is, for now, all that there is."""
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
    """Round float32 to bf16 at random, up as often as a number is near the upper neighbour, so that the mean is right.

    Adds random bits below those that bf16 keeps, and cuts (as in Zamirai et al. 2020, arXiv:2010.06192). Draws from the
    device's generator, which the loop seeds at each step.
    """
    bits = source.view(torch.int32)
    rounded = (bits + torch.randint(0, 1 << 16, bits.shape, dtype=torch.int32, device=bits.device)) & -(1 << 16)
    target.copy_(torch.where(source.isfinite(), rounded.view(torch.float32), source))

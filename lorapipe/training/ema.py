"""Exponential moving average (EMA) of the trained weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class ExponentialMovingAverage:
    """Average a ← d · a + (1 − d) · w after each step n, with d = min(`decay`, (1 + n) / (10 + n)), in float32.

    The lower decay at first forgets the first steps soon, as in diffusers' `EMAModel` and TensorFlow.
    """

    def __init__(self, parameters: Mapping[str, Sequence[torch.nn.Parameter]], decay: float) -> None:
        self._parameters = [parameter for found in parameters.values() for parameter in found]
        self._decay = decay
        self._steps = 0
        self._averages = [parameter.detach().to(torch.float32, copy=True) for parameter in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the weights after a step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            average.lerp_(parameter.float(), 1 - decay)

    @contextmanager
    def applied(self, refresh: Callable[[], None]) -> Iterator[None]:
        """Set the parameters to the average inside the context; `refresh` is called after each change of them."""
        before = [parameter.detach().to("cpu", copy=True) for parameter in self._parameters]
        self._put(self._averages, refresh)
        try:
            yield
        finally:
            self._put(before, refresh)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor], refresh: Callable[[], None]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
        refresh()

    def state(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        return {"steps": self._steps, "averages": self._averages}

    def load(self, state: Mapping[str, Any]) -> None:
        """Load a state. ValueError if it belongs to another training."""
        if [each.shape for each in state["averages"]] != [each.shape for each in self._averages]:
            raise ValueError("its averages have other shapes")
        self._steps = int(state["steps"])
        for average, saved in zip(self._averages, state["averages"], strict=True):
            average.copy_(saved)

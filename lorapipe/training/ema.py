"""The exponential moving average (EMA) of the trained weights, which is what is saved where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class ExponentialMovingAverage:
    """a ← d · a + (1 − d) · w after each step n, with d = min(`decay`, (1 + n) / (10 + n)), float32.

    So the first steps, which know little, are soon forgotten (as diffusers' `EMAModel` and TensorFlow's do).
    """

    def __init__(self, parameters: Mapping[str, Sequence[torch.nn.Parameter]], decay: float) -> None:
        self._parameters = [parameter for found in parameters.values() for parameter in found]
        self._decay = decay
        self._steps = 0
        self._averages = [parameter.detach().to(torch.float32, copy=True) for parameter in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take a step's weights into the average."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            average.lerp_(parameter.float(), 1 - decay)

    @contextmanager
    def applied(self, refresh: Callable[[], None]) -> Iterator[None]:
        """Within: the parameters are the average. `refresh` is called whenever they have changed."""
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
        """The state as tensors and plain values."""
        return {"steps": self._steps, "averages": self._averages}

    def load(self, state: Mapping[str, Any]) -> None:
        """Load a state. ValueError if it belongs to another training."""
        if [each.shape for each in state["averages"]] != [each.shape for each in self._averages]:
            raise ValueError("its averages have other shapes")
        self._steps = int(state["steps"])
        for average, saved in zip(self._averages, state["averages"], strict=True):
            average.copy_(saved)

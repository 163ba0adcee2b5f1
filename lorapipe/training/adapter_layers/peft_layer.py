"""Layer of a method of PEFT's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, shape_of, weight_of
from lorapipe.training.adapter_layers.weights_layer import parameters
from lorapipe.training.peft_methods import Method

HALVINGS = 30
"""Bisection steps in the search for a smaller update: nine digits."""


class PeftLayer(AdapterLayer):
    """base(x) + strength · ΔW x, with the tensors of a method of PEFT's."""

    def __init__(self, base: torch.nn.Module, width: Width, method: Method) -> None:
        super().__init__(base, width)
        self.algorithm = method.algorithm  # type: ignore[misc]  # of the instance
        self._method = method
        self.factors = parameters(self.algorithm, self._initial(torch.Generator()), device_of(base))

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.factors)

    def reset(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            for name, tensor in self._initial(generator).items():
                self.factors[name].copy_(tensor)

    def _initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        shape = shape_of(self.base_layer)
        return self._method.initial(shape, self.width.rank, generator, partial(weight_of, self.base_layer))

    def adopt(self, fixed: Mapping[str, Tensor]) -> None:
        """Take them over also where they are others: a file of PEFT's has its own random matrices and seeds."""
        self.factors.update(parameters(self.algorithm, fixed, device_of(self.base_layer)))

    def shrink(self, factor: Tensor) -> None:
        """Scale ΔW, or where it cannot be scaled, go towards ΔW = 0 until its norm is `factor` times the old."""
        ours = {name: tensor.detach().clone() for name, tensor in self.trained().items()}
        if (neutral := self._method.neutral(ours)) is None:
            return super().shrink(factor)
        goal = self.norm() * factor
        low, high = torch.zeros_like(factor), torch.ones_like(factor)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            self._go(neutral, ours, middle)
            too_far = self.norm() > goal
            low, high = torch.where(too_far, low, middle), torch.where(too_far, middle, high)
        self._go(neutral, ours, torch.where(factor < 1, low, torch.ones_like(low)))
        return None

    def _go(self, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: Tensor) -> None:
        """Set the parameters to a point between two sets of values; a share of 1 is exactly the second."""
        for name, tensor in end.items():
            self.factors[name].copy_(torch.where(share == 1, tensor, start[name] + share * (tensor - start[name])))

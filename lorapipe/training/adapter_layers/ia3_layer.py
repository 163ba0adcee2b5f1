"""(IA)³ layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, shape_of
from lorapipe.training.adapter_layers.products import Recomputed
from lorapipe.training.adapter_layers.weights_layer import parameters


class Ia3Layer(AdapterLayer):
    """base(x) + strength · (base(x) − bias) ⊙ weight; with `on_input`, base(x) + base(strength · x ⊙ weight) − bias.

    The sum is not written as a factor near 1 on x or on the output, since half precision rounds small updates of it away.
    """

    algorithm: ClassVar[str] = "ia3"

    def __init__(self, base: torch.nn.Module, width: Width, on_input: bool = False) -> None:
        super().__init__(base, width)
        out, inputs, *kernel = shape_of(base)
        count = inputs if on_input else out
        weight = torch.zeros(1, count, *[1 for _ in kernel]) if kernel else torch.zeros(count)
        initial = {"weight": weight, "on_input": torch.tensor(int(on_input))}
        self.factors = parameters(self.algorithm, initial, device_of(base))
        self._on_input = on_input

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.factors)

    def adopt(self, fixed: Mapping[str, Tensor]) -> None:
        super().adopt(fixed)
        self._on_input = bool(fixed["on_input"])

    def reset(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.factors["weight"].zero_()

    def forward(self, input: Tensor) -> Tensor:
        base: Any = self.base_layer
        strength, is_conv = self.factor_now(), len(shape_of(base)) == 4
        on_input = self._on_input

        def plain(output: Tensor) -> Tensor:
            if base.bias is None:
                return output
            return output - (base.bias.reshape(-1, 1, 1) if is_conv else base.bias)

        def scaled(x: Tensor, weight: Tensor) -> Tensor:
            output: Tensor = base(x)
            factors = (strength * weight).to(x.dtype)
            update = plain(base(x * factors)) if on_input else plain(output) * factors.to(output.dtype)
            return output + update

        updated: Tensor = Recomputed.apply(input, scaled, self.factors["weight"])
        return updated

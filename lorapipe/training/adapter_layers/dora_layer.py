"""DoRA's layer (Liu et al. 2024, arXiv:2402.09353): another adapter's update, and magnitudes of W + ΔW."""

from __future__ import annotations

import torch
from torch import Tensor

from lorapipe.formats.algorithms._weight_decomposition import MAGNITUDE, norms
from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, shape_of, weight_of


class DoraLayer(AdapterLayer):
    """base(x) + strength · (W' − W) x, where W' = m ⊙ (W + P) / ‖W + P‖, and P is what the inner layer's tensors give.

    m is ‖W‖ at first, so W' = W. The norm is a constant on the way back (paper, §4.3). `norm` and `shrink` are P's.
    """

    def __init__(self, inner: AdapterLayer, on_output: bool) -> None:
        super().__init__(inner.base_layer, inner.width)
        self.algorithm, self.fast = inner.algorithm, inner.fast  # type: ignore[misc]  # of the instance
        self.inner = inner
        out, inputs, *kernel = shape_of(inner.base_layer)
        sides = (out, 1) if on_output else (1, inputs)
        self.dora_scale = torch.nn.Parameter(
            torch.empty(*sides, *[1 for _ in kernel], device=device_of(self.base_layer))
        )

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return {**self.inner.tensors(), MAGNITUDE: self.dora_scale}

    def reset(self, generator: torch.Generator) -> None:
        self.inner.reset(generator)
        with torch.no_grad():
            self.dora_scale.copy_(norms(weight_of(self.base_layer), self.dora_scale))

    def norm(self) -> Tensor:
        return self.inner.norm()

    def shrink(self, factor: Tensor) -> None:
        self.inner.shrink(factor)

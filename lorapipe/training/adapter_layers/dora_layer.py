"""DoRA layer (Liu et al. 2024, arXiv:2402.09353): wraps another layer and trains the magnitudes of W + ΔW."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lorapipe.formats.algorithms._weight_decomposition import MAGNITUDE, norms
from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, shape_of, weight_of
from lorapipe.training.adapter_layers.products import Narrow, UpDown, how_of


class DoraLayer(AdapterLayer):
    """base(x) + strength · (W' − W) x, where W' = m ⊙ (W + P) / ‖W + P‖ and P is the inner layer's ΔW.

    m starts as ‖W‖, so W' = W. The norm is detached in the backward pass (paper, §4.3). `norm` and `shrink` act on P.

    With magnitudes of inputs and strength 1, W' x = (W + P)(c ⊙ x) with c = m / ‖W + P‖: where P is low-rank, `UpDown`
    computes that without a matrix of W's size.
    """

    def __init__(self, inner: AdapterLayer, on_output: bool) -> None:
        super().__init__(inner.base_layer, inner.width)
        self.algorithm, self.fast = inner.algorithm, inner.fast  # type: ignore[misc]  # of the instance
        self.inner = inner
        out, inputs, *kernel = shape_of(inner.base_layer)
        sides = (out, 1) if on_output else (1, inputs)
        self._base_norms: Tensor | None = None
        self.dora_scale = torch.nn.Parameter(
            torch.empty(*sides, *[1 for _ in kernel], device=device_of(self.base_layer))
        )

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return {**self.inner.tensors(), MAGNITUDE: self.dora_scale}

    def reset(self, generator: torch.Generator) -> None:
        self.inner.reset(generator)
        with torch.no_grad():
            self.dora_scale.copy_(norms(weight_of(self.base_layer), self.dora_scale))

    def forward(self, input: Tensor) -> Tensor:
        narrow, base = self.inner.narrow(), self.base_layer
        has_dropout = torch.is_grad_enabled() and (self.dropout or self.rank_dropout or self.module_dropout)
        if narrow is None or has_dropout or self.strength != 1 or self.dora_scale.shape[0] != 1:
            return super().forward(input)
        scales = self.dora_scale.flatten() / self._norms(narrow)
        plain: Any = base
        updated: Tensor = UpDown.apply(input, plain.weight, plain.bias, scales, narrow, how_of(base), *narrow.tensors)
        return updated

    @torch.no_grad()
    def _norms(self, narrow: Narrow) -> Tensor:
        """Compute ‖W + s · up · down‖ of each input, (in,), from ‖W‖ and the factors, without a matrix of W's size.

        ‖w + p‖² = ‖w‖² + 2⟨w, p⟩ + ‖p‖², where Σ over outputs of w · p is (upᵀ W) · down.
        """
        weight: Any = self.base_layer.weight
        if self._base_norms is None:
            self._base_norms = norms(weight_of(self.base_layer), self.dora_scale).flatten()
        down, up = (each.flatten(1) for each in narrow.make(*narrow.tensors))
        across = (up.T.to(weight.dtype) @ weight.flatten(1)).float()
        more = narrow.scale * (2 * across + narrow.scale * ((up.T @ up) @ down)) * down
        more = more.sum(0).reshape(len(self._base_norms), -1).sum(1)
        squares = self._base_norms.square().clamp(min=torch.finfo(torch.float32).tiny)
        return (self._base_norms * (1 + more / squares).clamp(min=1e-12).sqrt()).clamp(min=1e-30)

    def norm(self) -> Tensor:
        return self.inner.norm()

    def shrink(self, factor: Tensor) -> None:
        self.inner.shrink(factor)

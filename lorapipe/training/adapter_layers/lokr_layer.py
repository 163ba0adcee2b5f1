"""LoKr layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from lorapipe.formats.algorithms.lokr import whole
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import FactorsLayer, shape_of
from lorapipe.training.adapter_layers.lokr_form import Form
from lorapipe.training.adapter_layers.products import Recomputed

ZERO = ("w2", "w2_b")
"""Tensors that start at 0; the others start kaiming-uniform(a=√5), as in LyCORIS."""


class LokrLayer(FactorsLayer):
    """base(x) + strength · alpha / rank · (w1 ⊗ w2) x.

    For Linear layers the Kronecker product is never formed: with x reshaped to (in_m, in_n), it is w1 · x · w2ᵀ.
    """

    algorithm: ClassVar[str] = "lokr"
    fast: ClassVar = ("w1", "w1_a")

    def __init__(self, base: torch.nn.Module, width: Width, form: Form) -> None:
        super().__init__(base, width, form.shapes(shape_of(base), width.rank))
        self._is_linear = len(shape_of(base)) == 2

    def reset(self, generator: torch.Generator) -> None:
        values = {}
        for name, tensor in self.factors.items():
            drawn = torch.empty(tensor.shape)
            torch.nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
            values[name] = torch.zeros_like(drawn) if name in ZERO else drawn
        self.fill(values)

    def update(self, x: Tensor) -> Tensor:
        if not self._is_linear or (torch.is_grad_enabled() and self.rank_dropout):
            return super().update(x)
        names, scale = [*self.factors], self._scale()

        def product(x: Tensor, *tensors: Tensor) -> Tensor:
            ours: Mapping[str, Tensor] = dict(zip(names, tensors, strict=True))
            return _kronecker(x, {name: tensor.to(x.dtype) for name, tensor in ours.items()}, scale)

        updated: Tensor = Recomputed.apply(x, product, *self.factors.values())
        return updated

    def _scale(self) -> float:
        return 1.0 if {"w1", "w2"} <= self.factors.keys() else self.width.alpha / self.width.rank

    def norm(self) -> Tensor:
        """Compute ‖w1 ⊗ w2‖ = ‖w1‖ · ‖w2‖."""
        ours = self.tensors()
        return (whole(ours, "w1").norm() * whole(ours, "w2").norm() * self._scale()).clamp(min=1e-12)


def _kronecker(x: Tensor, tensors: Mapping[str, Tensor], scale: float) -> Tensor:
    """Apply w1 ⊗ w2 to (…, in): row = i_l · out_k + i_k, column = j_m · in_n + j_n."""
    left = whole(tensors, "w1") * scale
    seen = x.unflatten(-1, (left.shape[1], -1))
    right = [tensors["w2"]] if "w2" in tensors else [tensors["w2_b"], tensors["w2_a"]]
    for each in right:
        seen = seen @ each.T
    return torch.matmul(left, seen).flatten(-2)

"""Differences of a normalisation layer's weight and bias (LyCORIS' `train_norm`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Algorithm, Tensors, shapes_in_words

if TYPE_CHECKING:
    from torch import Tensor


class NormAlgorithm(Algorithm):
    """ΔW = `weight` (n,) and Δb = `bias` (n,) of a LayerNorm or GroupNorm."""

    keys: ClassVar = {"weight": "w_norm", "bias": "b_norm"}
    optional: ClassVar = frozenset({"bias"})
    has_alpha: ClassVar = False

    def rank(self, tensors: Tensors) -> int:
        return 1

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return 1.0

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        return tensors["weight"]

    def delta_bias(self, tensors: Tensors, bias: Tensor | None = None) -> Tensor | None:
        return tensors.get("bias")

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {name: tensor * factor for name, tensor in tensors.items()}

    def flaw(self, tensors: Tensors) -> str:
        weight, bias = tensors["weight"], tensors.get("bias")
        if weight.dim() != 1 or not weight.numel() or (bias is not None and bias.shape != weight.shape):
            return f"its shapes do not fit, {shapes_in_words(tensors)}"
        return ""

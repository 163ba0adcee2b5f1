"""(IA)³: a factor for each output or input of a module (Liu et al. 2022, arXiv:2205.05638; as LyCORIS, `modules/ia3.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm, Tensors, shapes_in_words

if TYPE_CHECKING:
    from torch import Tensor


class Ia3Algorithm(Algorithm):
    """ΔW = W ⊙ `weight`: one factor for each output, or for each input where `on_input` is 1. The bias is unchanged.

    `weight` is (n,) for a Linear layer and (1, n, 1, 1) for a convolution.
    """

    keys: ClassVar = {"weight": "weight", "on_input": "on_input"}
    flags: ClassVar = frozenset({"on_input"})
    has_alpha: ClassVar = False

    def rank(self, tensors: Tensors) -> int:
        return 1

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return 1.0

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            raise InputError("an (IA)³'s update depends on the base's weight.", cure="Pass weight.")
        factors, later = tensors["weight"].flatten(), [1] * (weight.dim() - 2)
        shape = [1, -1, *later] if bool(tensors["on_input"].any()) else [-1, 1, *later]
        return weight.to(factors.dtype) * factors.reshape(shape)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "weight": tensors["weight"] * factor}

    def flaw(self, tensors: Tensors) -> str:
        weight, flag = tensors["weight"], tensors["on_input"]
        if flag.numel() != 1 or not weight.numel() or sum(side != 1 for side in weight.shape) > 1:
            return f"its shapes do not fit, {shapes_in_words(tensors)}"
        return ""

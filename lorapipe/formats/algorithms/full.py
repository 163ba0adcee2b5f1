"""Dense difference of a module's weight and bias (LyCORIS' `full`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Algorithm, Tensors, shapes_in_words

if TYPE_CHECKING:
    from torch import Tensor


class FullAlgorithm(Algorithm):
    """ΔW = `diff`, in the shape of the weight; Δb = `diff_b` (out,)."""

    keys: ClassVar = {"diff": "diff", "diff_b": "diff_b"}
    optional: ClassVar = frozenset({"diff_b"})
    has_alpha: ClassVar = False

    def rank(self, tensors: Tensors) -> int:
        return int(min(tensors["diff"].flatten(1).shape))

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return 1.0

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        return tensors["diff"]

    def delta_bias(self, tensors: Tensors, bias: Tensor | None = None) -> Tensor | None:
        return tensors.get("diff_b")

    def rows(self, tensors: Tensors, first: int, last: int) -> dict[str, Tensor] | None:
        return {name: tensor[first:last] for name, tensor in tensors.items()}

    def norm(self, tensors: Tensors, alpha: float) -> float | None:
        return float((tensors["diff"] ** 2).sum()) ** 0.5

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {name: tensor * factor for name, tensor in tensors.items()}

    def flaw(self, tensors: Tensors) -> str:
        diff, bias = tensors["diff"], tensors.get("diff_b")
        if diff.dim() not in (2, 4) or not diff.numel() or (bias is not None and bias.shape != diff.shape[:1]):
            return f"its shapes do not fit, {shapes_in_words(tensors)}"
        return ""

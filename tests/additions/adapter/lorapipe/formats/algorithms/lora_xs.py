"""LoRA-XS: a small square matrix between two that stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Algorithm, Tensors

if TYPE_CHECKING:
    from torch import Tensor


class LoraXsAlgorithm(Algorithm):
    """ΔW = (alpha / rank) · left · core · right  (Bałazy et al. 2024, arXiv:2405.17604)."""

    keys: ClassVar = {name: f"xs_{name}" for name in ("left", "core", "right")}

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["core"].shape[0])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        return alpha / self.rank(tensors) * (tensors["left"] @ tensors["core"] @ tensors["right"])

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "core": tensors["core"] * factor}

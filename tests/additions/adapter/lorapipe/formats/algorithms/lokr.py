"""LoKr: the update is a Kronecker product of a small matrix with a low-rank one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Algorithm, Tensors

if TYPE_CHECKING:
    from torch import Tensor


class LokrAlgorithm(Algorithm):
    """ΔW = (alpha / rank) · w1 ⊗ (w2_a · w2_b)  (Yeh et al. 2023, arXiv:2309.14859; as LyCORIS)."""

    keys: ClassVar = {name: f"lokr_{name}" for name in ("w1", "w2_a", "w2_b")}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "LOKR"

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["w2_b"].shape[0])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        return alpha / self.rank(tensors) * torch.kron(tensors["w1"], tensors["w2_a"] @ tensors["w2_b"])

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "w2_a": tensors["w2_a"] * factor}

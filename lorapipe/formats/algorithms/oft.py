"""OFT, orthogonal finetuning: rotates a module's outputs in blocks (Qiu et al. 2023, arXiv:2306.07280).

The same maths as kohya's `networks/oft.py` and LyCORIS' Diag-OFT (`modules/diag_oft.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm, Tensors, shape_in_words
from lorapipe.formats.algorithms._cayley import rotations

if TYPE_CHECKING:
    from torch import Tensor


class OftAlgorithm(Algorithm):
    """ΔW = rescale ⊙ RᵀW − W, where R rotates each block of b outputs: R = (I + Q)(I − Q)⁻¹, Q = B − Bᵀ  (Cayley).

    `blocks` B (n, b, b) with n · b = out; `rescale` (out, 1[, 1, 1]). Alpha is the constraint: ‖Q‖ over all blocks is at
    most alpha · out; 0 means no limit. Files of early LyCORIS hold R itself, `diag` (n, b, b).
    """

    keys: ClassVar = {"blocks": "oft_blocks", "diag": "oft_diag", "rescale": "rescale"}
    optional: ClassVar = frozenset(keys)
    algo: ClassVar = "diag-oft"

    def rank(self, tensors: Tensors) -> int:
        """Return the block size b, which LyCORIS writes as `network_dim`."""
        return int(_blocks(tensors).shape[-1])

    def usual_alpha(self, tensors: Tensors) -> float:
        return 0.0

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return 1.0

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def missing(self, tensors: Tensors) -> list[str]:
        return [] if "blocks" in tensors or "diag" in tensors else ["blocks"]

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        if weight is None:
            raise InputError("an OFT's update depends on the base's weight.", cure="Pass weight.")
        turn = tensors["diag"] if "diag" in tensors else rotations(tensors["blocks"], alpha * weight.shape[0])
        blocks = weight.to(turn.dtype).reshape(*turn.shape[:2], *weight.shape[1:])
        turned = torch.einsum("knm,kn...->km...", turn, blocks).reshape(weight.shape)
        if (rescale := tensors.get("rescale")) is not None:
            turned = turned * rescale.reshape(-1, *[1] * (weight.dim() - 1))
        return turned - weight

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        raise InputError(
            "an OFT rotates weights, and a scaled rotation is no rotation.", cure="Export it as a difference."
        )

    def flaw(self, tensors: Tensors) -> str:
        blocks = _blocks(tensors)
        if "blocks" in tensors and "diag" in tensors:
            return "it has oft_blocks and oft_diag"
        if blocks.dim() == 4:
            return f"its blocks are a BOFT's, {shape_in_words(blocks)}, which is not read"
        if blocks.dim() != 3 or blocks.shape[1] != blocks.shape[2] or not blocks.numel():
            return f"its blocks are {shape_in_words(blocks)}, not squares"
        rescale, out = tensors.get("rescale"), blocks.shape[0] * blocks.shape[1]
        if rescale is not None and rescale.numel() != out:
            return f"its rescale is {shape_in_words(rescale)}, and it has {out} outputs"
        return ""


def _blocks(tensors: Tensors) -> Tensor:
    return tensors["blocks"] if "blocks" in tensors else tensors["diag"]

"""LoRA (Hu et al. 2021, arXiv:2106.09685), and LoCon, its form for convolutions: ΔW = (alpha / rank) · up · down."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Tensors, evened, shapes_in_words
from lorapipe.formats.algorithms._weight_decomposition import DORA, DecomposableAlgorithm

if TYPE_CHECKING:
    from torch import Tensor


class LoraAlgorithm(DecomposableAlgorithm):
    """ΔW = (alpha / rank) · up · down, with `down` (r, in[, k, k]) and `up` (out, r[, 1, 1]).

    With `mid` (r, r, k, k), LyCORIS' Tucker form, down and up are 1×1 and mid has the kernel's size.
    """

    keys: ClassVar = {"down": "lora_down.weight", "up": "lora_up.weight", "mid": "lora_mid.weight", **DORA}
    peft_keys: ClassVar = {"down": "lora_A.weight", "up": "lora_B.weight"}
    peft_type: ClassVar = "LORA"
    peft_alpha: ClassVar = "lora_alpha"
    peft_settings: ClassVar = {
        "init_lora_weights": {"enum": [True, False, None, "gaussian", "eva", "orthogonal"]},  # others change the base
    }
    optional: ClassVar = frozenset({"mid", *DORA})
    network_module: ClassVar = ""
    algo: ClassVar = "locon"

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["down"].shape[0])

    def product(self, tensors: Tensors, alpha: float) -> Tensor:
        import torch

        down, up = tensors["down"], tensors["up"]
        scale, (out, rank) = alpha / down.shape[0], up.shape[:2]
        if "mid" in tensors:
            return scale * torch.einsum("or,rskl,si->oikl", up.flatten(1), tensors["mid"], down.flatten(1))
        return scale * (up.reshape(out, rank) @ down.flatten(1)).reshape(out, *down.shape[1:])

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "up": tensors["up"] * factor}

    def rows(self, tensors: Tensors, first: int, last: int) -> dict[str, Tensor] | None:
        return {**tensors, "up": tensors["up"][first:last]} if tensors.keys() == {"down", "up"} else None

    def norm(self, tensors: Tensors, alpha: float) -> float | None:
        if tensors.keys() != {"down", "up"}:
            return None
        down, up = tensors["down"], tensors["up"]
        rank = down.shape[0]
        down, up = down.reshape(rank, -1), up.reshape(-1, rank)
        square = float(((up.T @ up) * (down @ down.T)).sum())  # ‖up · down‖²
        return abs(alpha) / rank * max(square, 0.0) ** 0.5

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        return evened(tensors, "up", "down")

    def product_flaw(self, tensors: Tensors) -> str:
        down, up, mid = tensors["down"], tensors["up"], tensors.get("mid")
        shapes = shapes_in_words(tensors)
        if not {down.dim(), up.dim()} <= {2, 4} or not _is_pointwise(up):
            return f"its shapes are not a LoRA's, {shapes}"
        rank = down.shape[0]
        if not rank or up.shape[1] != rank or not down.numel() or not up.numel():
            return f"its ranks do not fit, {shapes}"
        if mid is not None and not (mid.dim() == 4 and mid.shape[:2] == (rank, rank) and _is_pointwise(down)):
            return f"its shapes do not fit, {shapes}"
        return ""


def _is_pointwise(weight: Tensor) -> bool:
    """Return whether a weight is a matrix or a 1×1 convolution."""
    return all(side == 1 for side in weight.shape[2:])

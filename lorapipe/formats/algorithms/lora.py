"""LoRA (Hu et al. 2021, arXiv:2106.09685), and LoCon, which is LoRA of convolutions: ΔW = (alpha / rank) · up · down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Algorithm, Tensors, shape_in_words

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 2**-10
"""Factors whose largest number is below this are brought up for fp16, whose precision fades below 2⁻¹⁴."""


class LoraAlgorithm(Algorithm):
    """`down` (r, in[, k, k]) and `up` (out, r[, 1, 1]).

    With `mid` (r, r, k, k), down and up are 1×1 and the kernel is the middle's (LyCORIS' Tucker form).
    """

    keys: ClassVar = {"down": "lora_down.weight", "up": "lora_up.weight", "mid": "lora_mid.weight"}
    peft_keys: ClassVar = {"down": "lora_A.weight", "up": "lora_B.weight"}
    peft_type: ClassVar = "LORA"
    optional: ClassVar = frozenset({"mid"})
    network_module: ClassVar = "networks.lora"

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["down"].shape[0])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        down, up = tensors["down"], tensors["up"]
        scale, (out, rank) = alpha / down.shape[0], up.shape[:2]
        if "mid" in tensors:
            return scale * torch.einsum("or,rskl,si->oikl", up.flatten(1), tensors["mid"], down.flatten(1))
        return scale * (up.reshape(out, rank) @ down.flatten(1)).reshape(out, *down.shape[1:])

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "up": tensors["up"] * factor}

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        """`up` times a power of two, and `down` divided by it.

        After few steps `up` may be so small that fp16 has but a bit or two left for it.
        """
        up, down = (float(tensors[name].abs().max()) for name in ("up", "down"))
        if not 0 < up < SMALL or down == 0:
            return dict(tensors)
        power = 2.0 ** round(math.log2(down / up) / 2)
        return {**tensors, "up": tensors["up"] * power, "down": tensors["down"] / power}

    def flaw(self, tensors: Tensors) -> str:
        down, up, mid = tensors["down"], tensors["up"], tensors.get("mid")
        shapes = f"down is {shape_in_words(down)}, up {shape_in_words(up)}"
        if mid is not None:
            shapes += f", mid {shape_in_words(mid)}"
        if not {down.dim(), up.dim()} <= {2, 4} or not _is_pointwise(up):
            return f"its shapes are none of one, {shapes}"
        rank = down.shape[0]
        if not rank or up.shape[1] != rank or not down.numel() or not up.numel():
            return f"its ranks do not fit, {shapes}"
        if mid is not None and not (mid.dim() == 4 and mid.shape[:2] == (rank, rank) and _is_pointwise(down)):
            return f"its shapes do not fit, {shapes}"
        return ""


def _is_pointwise(weight: Tensor) -> bool:
    """Whether it is a matrix, or a convolution of one pixel."""
    return all(side == 1 for side in weight.shape[2:])

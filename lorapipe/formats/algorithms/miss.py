"""MiSS: shares one small block among groups of inputs (Kang et al. 2024, arXiv:2409.15371; formerly Bone; as PEFT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._peft_only import INPUTS, PeftOnlyAlgorithm
from lorapipe.formats.algorithms._peft_ranks import only

if TYPE_CHECKING:
    from torch import Tensor


class MissAlgorithm(PeftOnlyAlgorithm):
    """ΔW[o, i] = block[i mod r, o] on Linear layers, with `block` (r, out), or (r, n) repeated over the outputs (`mini`).

    PEFT's form `bat` has `block` B (out / r, r, r) and ΔW = W · B + B in squares of side r.
    """

    keys: ClassVar = {"block": "miss_block", INPUTS: "miss_inputs"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "MISS"
    peft_size: ClassVar = "r"
    peft_settings: ClassVar = {"mini_r": {"type": "integer"}}
    flags: ClassVar = frozenset({INPUTS})
    optional: ClassVar = flags

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["block"].shape[-1 if tensors["block"].dim() == 3 else 0])

    def needs_weight(self, tensors: Tensors) -> bool:
        return INPUTS not in tensors

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        block = tensors["block"]
        if block.dim() == 3:
            return _in_squares(self.given(weight).to(block.dtype), block)
        inputs, rank = self.inputs(tensors, weight), len(block)
        outputs = block.shape[1] if weight is None else len(weight)
        rows = block.T.repeat(outputs // block.shape[1], 1)
        return rows.repeat(1, -(-inputs // rank))[:, :inputs]

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "block": tensors["block"] * factor}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        found = [tensors for tensors, _ in modules.values()]
        squares = only("form", (each["block"].dim() == 3 for each in found))
        return {"r": only("r", map(self.rank, found)), "init_weights": "bat" if squares else True}

    def flaw(self, tensors: Tensors) -> str:
        block = tensors["block"]
        fits = block.dim() == 2 or (block.dim() == 3 and block.shape[1] == block.shape[2] and INPUTS not in tensors)
        return "" if fits and block.numel() else f"its shapes do not fit, {shapes_in_words(tensors)}"


def _in_squares(weight: Tensor, block: Tensor) -> Tensor:
    """Return W · B + B for each square of W (out, in), with B (out / r, r, r)."""
    rank = block.shape[-1]
    squares = weight.unflatten(0, (-1, rank)).unflatten(2, (-1, rank)).permute(2, 0, 1, 3)
    block = block.reshape(squares.shape[1], rank, rank)  # not broadcast
    return (squares @ block + block).permute(1, 2, 0, 3).reshape(weight.shape)

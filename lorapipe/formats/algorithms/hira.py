"""HiRA: the product of W with a low-rank matrix, entry by entry (Huang et al. 2025, ICLR; as PEFT)."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mode
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Tensors, evened, shapes_in_words
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm

if TYPE_CHECKING:
    from torch import Tensor


class HiraAlgorithm(PeftOnlyAlgorithm):
    """ΔW = W ⊙ (up · down): a high rank from few numbers. `down` (r, in[, k, k]) and `up` (out, r[, 1, 1])."""

    keys: ClassVar = {"down": "hira_A", "up": "hira_B"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "HIRA"
    peft_size: ClassVar = "r"

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["down"].shape[0])

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        base = self.given(weight)
        product = tensors["up"].flatten(1) @ tensors["down"].flatten(1)
        return (base.flatten(1).to(product.dtype) * product).reshape(base.shape)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "up": tensors["up"] * factor}

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        return evened(tensors, "up", "down")

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        ranks = {path: self.rank(tensors) for path, (tensors, _) in modules.items()}
        usual = mode(ranks.values())
        return {"r": usual, "rank_pattern": {path: rank for path, rank in ranks.items() if rank != usual}}

    def flaw(self, tensors: Tensors) -> str:
        down, up = tensors["down"], tensors["up"]
        fits = {down.dim(), up.dim()} <= {2, 4} and down.numel() and up.numel() and up.shape[1] == down.shape[0]
        fits = fits and all(side == 1 for side in up.shape[2:])
        return "" if fits else f"its shapes do not fit, {shapes_in_words(tensors)}"

"""DeLoRA: a LoRA whose parts have norm 1, with one trained strength (Bini et al. 2025, arXiv:2503.18225; as PEFT)."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mode
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-4
"""PEFT's lower limit of the factors' norms."""


class DeLoraAlgorithm(PeftOnlyAlgorithm):
    """ΔW = lambda / r · Σᵢ (bᵢ / ‖bᵢ‖) (aᵢ / ‖aᵢ‖)ᵀ ⊙ w_norm on Linear layers: its norm is bounded.

    `A` (r, in), `B` (out, r), `lambda` (1,); `w_norm` (in,) has the norms of the columns of W at the training's beginning.
    """

    keys: ClassVar = {"A": "delora_A", "B": "delora_B", "lambda": "delora_lambda", "w_norm": "delora_w_norm"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "DELORA"
    peft_size: ClassVar = "r"
    peft_settings: ClassVar = {
        "delora_lambda": {"type": "number"},
        "lambda_pattern": {"type": ["object", "null"]},
    }
    frozen: ClassVar = frozenset({"w_norm"})

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["A"].shape[0])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        down, up = tensors["A"], tensors["B"]
        norms = down.norm(dim=1).clamp(min=SMALLEST) * up.norm(dim=0).clamp(min=SMALLEST)
        return (up * (tensors["lambda"] / len(down) / norms)) @ down * tensors["w_norm"]

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "lambda": tensors["lambda"] * factor}

    def to_peft(self, tensors: Tensors) -> dict[str, Tensor]:
        return dict(tensors)

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        ranks = {path: self.rank(tensors) for path, (tensors, _) in modules.items()}
        usual = mode(ranks.values())
        return {"r": usual, "rank_pattern": {path: rank for path, rank in ranks.items() if rank != usual}}

    def flaw(self, tensors: Tensors) -> str:
        down, up, strength, norms = (tensors[short] for short in self.keys)
        fits = down.dim() == up.dim() == 2 and down.numel() and up.numel() and down.shape[0] == up.shape[1]
        fits = fits and tuple(strength.shape) == (1,) and tuple(norms.shape) == (down.shape[1],)
        return "" if fits else f"its shapes do not fit, {shapes_in_words(tensors)}"

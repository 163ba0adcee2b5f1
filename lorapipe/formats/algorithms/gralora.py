"""GraLoRA: a LoRA for each block of a weight, mixed across blocks (Jung et al. 2025, arXiv:2505.20355; as PEFT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm
from lorapipe.formats.algorithms._peft_ranks import only, plain

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = frozenset({"down", "up"})


class GraLoraAlgorithm(PeftOnlyAlgorithm):
    """ΔW of k · k blocks: block (j, i) is alpha / r · Bⱼᵢ · Aᵢⱼ with rank r / k, on Linear layers.

    `A` (k, in / k, r) and `B` (k, r, out / k). PEFT's hybrid form adds a plain LoRA, `down` (h, in) and `up` (out, h), and
    scales both by alpha / (r + h).
    """

    keys: ClassVar = {
        "A": "gralora_A", "B": "gralora_B", "down": "gralora_A_general.weight", "up": "gralora_B_general.weight",
    }  # fmt: skip
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "GRALORA"
    peft_alpha: ClassVar = "alpha"
    peft_settings: ClassVar = {"gralora_k": {"type": "integer"}, "hybrid_r": {"type": "integer"}}
    has_alpha: ClassVar = True
    optional: ClassVar = WHOLE

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["A"].shape[2]) + (int(tensors["down"].shape[0]) if "down" in tensors else 0)

    def usual_alpha(self, tensors: Tensors) -> float:
        return 2.0 * self.rank(tensors)

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return alpha / self.rank(tensors)

    def missing(self, tensors: Tensors) -> list[str]:
        pair = [short for short in WHOLE if short not in tensors]
        return super().missing(tensors) + (pair if len(pair) == 1 else [])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        down, up = tensors["A"], tensors["B"]
        count = len(down)
        inner = torch.einsum("nijt,jnto->joni", down.unflatten(2, (count, -1)), up.unflatten(1, (count, -1)))
        found = inner.reshape(count * up.shape[2], count * down.shape[1])
        if "down" in tensors:
            found = found + tensors["up"] @ tensors["down"]
        return found * self.scale(tensors, alpha)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {name: tensor * factor if name in ("B", "up") else tensor for name, tensor in tensors.items()}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        found = [tensors for tensors, _ in modules.values()]
        return {
            "r": only("r", (int(each["A"].shape[2]) for each in found)),
            "gralora_k": only("gralora_k", (len(each["A"]) for each in found)),
            "hybrid_r": only("hybrid_r", (len(each["down"]) if "down" in each else 0 for each in found)),
            "alpha": plain(only("alpha", (alpha for _, alpha in modules.values()))),
        }

    def flaw(self, tensors: Tensors) -> str:
        down, up = tensors["A"], tensors["B"]
        fits = down.dim() == up.dim() == 3 and down.numel() and up.numel()
        fits = (
            fits
            and down.shape[0] == up.shape[0]
            and down.shape[2] == up.shape[1]
            and down.shape[2] % down.shape[0] == 0
        )
        if fits and "down" in tensors:
            first, last = tensors["down"], tensors["up"]
            fits = first.dim() == last.dim() == 2 and first.shape[0] == last.shape[1]
        return "" if fits else f"its shapes do not fit, {shapes_in_words(tensors)}"

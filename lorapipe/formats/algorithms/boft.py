"""BOFT: rotates a module's inputs in blocks that butterflies mix (Liu et al. 2024, arXiv:2311.06243; as PEFT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._cayley import rotations
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm
from lorapipe.formats.algorithms._peft_ranks import only

if TYPE_CHECKING:
    from torch import Tensor


class BoftAlgorithm(PeftOnlyAlgorithm):
    """ΔW = s ⊙ W M₀ᵀ M₁ᵀ … − W, where Mᵢ = Pᵢ · blocks(Rᵢ) · Pᵢᵀ and Rᵢ is the Cayley transform of (R − Rᵀ) / 2.

    `R` (m, n, b, b) for m butterfly factors and n · b inputs (a convolution's inputs count in · k · k); `s` a factor for
    each output, (out, 1), or (1, out) for a convolution. One factor (m = 1) has no permutation: it is an OFT of the inputs.
    """

    keys: ClassVar = {"R": "boft_R", "s": "boft_s"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "BOFT"
    peft_size: ClassVar = "boft_block_size"
    peft_settings: ClassVar = {
        "boft_block_size": {"type": "integer"},
        "boft_block_num": {"type": "integer"},
        "boft_n_butterfly_factor": {"type": "integer", "default": 1},
    }
    precise: ClassVar = frozenset({"s"})

    def rank(self, tensors: Tensors) -> int:
        """Return the block size b."""
        return int(tensors["R"].shape[-1])

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        base = self.given(weight)
        plain = base.flatten(1).to(tensors["R"].dtype)
        turned, factors = plain, tensors["R"]
        for place, blocks in enumerate(factors):
            turned = _turned(turned, rotations(-blocks / 2, 0.0), place if len(factors) > 1 else None)
        return (turned * tensors["s"].reshape(-1, 1) - plain).reshape(base.shape)

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        """Check the number of factors: PEFT trains one, whatever the settings say, where its CUDA extension is missing."""
        if tensors["R"].dim() == 4 and len(tensors["R"]) not in (1, config["boft_n_butterfly_factor"]):
            what = f"{path} has {len(tensors['R'])} butterfly factors, and its settings {config['boft_n_butterfly_factor']}."
            raise InputError(what, cure="The file is damaged.")
        return dict(tensors)

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        return {
            "boft_block_size": only("boft_block_size", (int(each["R"].shape[-1]) for each, _ in modules.values())),
            "boft_n_butterfly_factor": only("number of factors", (len(each["R"]) for each, _ in modules.values())),
        }

    def flaw(self, tensors: Tensors) -> str:
        blocks, factors = tensors["R"], tensors["s"]
        fits = blocks.dim() == 4 and blocks.shape[2] == blocks.shape[3] and factors.dim() == 2 and 1 in factors.shape
        if not fits or not blocks.numel() or not factors.numel():
            return f"its shapes do not fit, {shapes_in_words(tensors)}"
        factor, count, size, _ = blocks.shape
        if factor > 1 and (size % 2 or factor > 30 or count % 2 ** (factor - 1)):
            return f"its blocks do not make a butterfly, {shapes_in_words(tensors)}"
        return ""


def _turned(weight: Tensor, blocks: Tensor, factor: int | None) -> Tensor:
    """Multiply (out, n · b) by P · blocks(n, b, b)ᵀ · Pᵀ of a butterfly factor; None: without a permutation."""
    import torch

    count, size, _ = blocks.shape
    if factor is not None:
        order = _permutation(count, size, factor).to(weight.device)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        weight = weight[:, back]
    weight = torch.einsum("nkc,onc->onk", blocks, weight.unflatten(1, (count, size))).flatten(1)
    return weight if factor is None else weight[:, order]


def _permutation(count: int, size: int, factor: int) -> Tensor:
    """Return the order of inputs of a butterfly factor: within 2^factor blocks, even halves of blocks before odd ones."""
    import torch

    halves = 2 ** (factor + 1)
    numbers = torch.arange(count * size).reshape(-1, halves, size // 2)
    return numbers[:, [*range(0, halves, 2), *range(1, halves, 2)]].flatten()

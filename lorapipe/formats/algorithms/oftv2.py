"""OFT of the inputs, as PEFT has it since 0.16 (OFTv2, Qiu et al. 2025, arXiv:2506.19847)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._cayley import cayley
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm, number
from lorapipe.formats.algorithms._peft_ranks import only

if TYPE_CHECKING:
    from torch import Tensor


class Oftv2Algorithm(PeftOnlyAlgorithm):
    """ΔW = W · blocks(R)ᵀ − W, where R rotates each block of b inputs, by the Cayley transform of a skew-symmetric Q.

    `R` (n, b · (b − 1) / 2) holds the upper triangles of n matrices Q; with the flag `shared`, one is for all blocks. The
    flag `terms` tells how many terms of the Neumann series stand for the inverse; without it, R is (I − Q)(I + Q)⁻¹.
    """

    keys: ClassVar = {"R": "oft_R.weight", "terms": "oft_neumann_terms", "shared": "oft_block_share"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "OFT"
    peft_size: ClassVar = "oft_block_size"
    peft_settings: ClassVar = {
        "coft": {"type": "boolean", "default": False},
        "eps": {"type": "number", "exclusiveMinimum": 0, "default": 6e-5},
        "block_share": {"type": "boolean", "default": False},
        "use_cayley_neumann": {"type": "boolean", "default": False},
        "num_cayley_neumann_terms": {"type": "integer", "minimum": 1, "maximum": 64, "default": 5},
        "oft_block_size": {"type": "integer"},
    }
    flags: ClassVar = frozenset({"terms", "shared"})
    optional: ClassVar = flags

    def rank(self, tensors: Tensors) -> int:
        """Return the block size b."""
        return (1 + math.isqrt(1 + 8 * int(tensors["R"].shape[1]))) // 2

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        base, size = self.given(weight), self.rank(tensors)
        plain = base.flatten(1).to(tensors["R"].dtype)
        turn = _rotations(_skew(tensors["R"], size), int(tensors["terms"]) if "terms" in tensors else 0)
        blocks = plain.unflatten(1, (-1, size))
        turn = (
            turn.expand(blocks.shape[1], -1, -1) if "shared" in tensors else turn.reshape(blocks.shape[1], size, size)
        )
        turned = torch.einsum("nkc,onc->onk", turn, blocks).flatten(1)
        return (turned - plain).reshape(base.shape)

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        """Apply the limit of `coft` as PEFT does before each use; leave damaged shapes for `flaw`."""
        found = dict(tensors)
        if config["coft"] and tensors["R"].dim() == 2:
            norms = tensors["R"].float().norm(dim=1, keepdim=True) * 2**0.5  # of Q, which holds each number twice
            limit = config["eps"] / len(tensors["R"]) ** 0.5
            found["R"] = tensors["R"] * (limit / norms.clamp(min=limit)).to(tensors["R"].dtype)
        flags = {"shared": number(1)} if config["block_share"] else {}
        if config["use_cayley_neumann"]:
            flags["terms"] = number(config["num_cayley_neumann_terms"])
        return {**found, **flags}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        found = [tensors for tensors, _ in modules.values()]
        terms = only("num_cayley_neumann_terms", (int(each["terms"]) if "terms" in each else 0 for each in found))
        return {
            "r": 0,
            "oft_block_size": only("oft_block_size", map(self.rank, found)),
            "block_share": only("block_share", ("shared" in each for each in found)),
            "use_cayley_neumann": bool(terms),
            "num_cayley_neumann_terms": terms or 5,
        }

    def flaw(self, tensors: Tensors) -> str:
        triangle = tensors["R"]
        if triangle.dim() == 2 and triangle.numel() and triangle.shape[1] == math.comb(self.rank(tensors), 2):
            return ""
        return f"its shapes do not fit, {shapes_in_words(tensors)}"


def _skew(triangle: Tensor, size: int) -> Tensor:
    """Return skew-symmetric matrices (n, b, b) with these upper triangles (n, b · (b − 1) / 2)."""
    import torch

    rows, columns = torch.triu_indices(size, size, 1, device=triangle.device)
    whole = triangle.new_zeros(len(triangle), size, size).index_put(
        (torch.arange(len(triangle), device=triangle.device)[:, None], rows, columns), triangle
    )
    return whole - whole.transpose(1, 2)


def _rotations(skew: Tensor, terms: int) -> Tensor:
    """Return R for each Q: (I − Q)(I + Q)⁻¹, or PEFT's series I + 2Q + 2Q² + … + Qᵐ for the opposite turn."""
    import torch

    if not terms:
        return cayley(-skew)
    unit = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device).expand_as(skew)
    if terms < 3:
        return unit + 2 * skew if terms == 2 else unit
    power = skew @ skew
    found = unit + 2 * skew + 2 * power
    for _ in range(3, terms - 1):
        power = power @ skew
        found = found + 2 * power
    return found + power @ skew

"""HRA: a chain of Householder reflections of a module's inputs (Yuan et al. 2024, arXiv:2405.17484; as PEFT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm, number
from lorapipe.formats.algorithms._peft_ranks import only

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-38
"""Lower limit of a vector's norm."""


class HraAlgorithm(PeftOnlyAlgorithm):
    """ΔW = W · H₁ … Hᵣ − W, with reflections Hᵢ = I − 2 uᵢ uᵢᵀ / ‖uᵢ‖². Pairs of equal vectors cancel.

    `u` (in · k · k, r), a vector in each column. With the flag `orthogonal`, the vectors are made orthonormal in their order
    (Gram–Schmidt; PEFT's `apply_GS`).
    """

    keys: ClassVar = {"u": "hra_u", "orthogonal": "hra_apply_GS"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "HRA"
    peft_size: ClassVar = "r"
    peft_settings: ClassVar = {"apply_GS": {"type": "boolean", "default": False}}
    flags: ClassVar = frozenset({"orthogonal"})
    optional: ClassVar = flags
    precise: ClassVar = frozenset({"u"})  # the vectors of a pair differ little

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["u"].shape[1])

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        base = self.given(weight)
        vectors = tensors["u"].T
        plain = base.flatten(1).to(vectors.dtype)
        if "orthogonal" in tensors and bool(tensors["orthogonal"].any()):
            return _by_each(plain, _orthonormal(vectors)).reshape(base.shape)
        units = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=SMALLEST)
        return (_by_pairs(plain, units) if len(units) % 2 == 0 else _by_each(plain, units)).reshape(base.shape)

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        return {**tensors, **({"orthogonal": number(1)} if config["apply_GS"] else {})}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        found = [tensors for tensors, _ in modules.values()]
        orthogonal = only("apply_GS", ("orthogonal" in each and bool(each["orthogonal"].any()) for each in found))
        return {"r": only("r", map(self.rank, found)), "apply_GS": orthogonal}

    def flaw(self, tensors: Tensors) -> str:
        vectors = tensors["u"]
        return f"its shapes do not fit, {shapes_in_words(tensors)}" if vectors.dim() != 2 or not vectors.numel() else ""


def _by_each(weight: Tensor, units: Tensor) -> Tensor:
    """Return W · H₁ … Hᵣ − W for unit vectors (r, in)."""
    import torch

    reflected = weight
    for unit in units:
        reflected = reflected - 2 * torch.outer(reflected @ unit, unit)
    return reflected - weight


def _by_pairs(weight: Tensor, units: Tensor) -> Tensor:
    """Compute the same from pairs u, v and their difference w: exactly 0 where the vectors of each pair are equal.

    H_u · H_v − I = −2 w wᵀ + 2 (u wᵀ − w uᵀ) − 2 ‖w‖² u vᵀ, with w = v − u.
    """
    import torch

    change = torch.zeros_like(weight)
    for first, second in zip(units[::2], units[1::2], strict=True):
        between = second - first
        now = weight + change
        along, across = now @ first, now @ between
        change = change + torch.outer(2 * (along - across), between) - torch.outer(2 * across, first)
        change = change - torch.outer(2 * between.square().sum() * along, second)
    return change


def _orthonormal(vectors: Tensor) -> Tensor:
    """Make vectors (r, in) orthonormal in their order (Gram–Schmidt)."""
    import torch

    found: list[torch.Tensor] = []
    for vector in vectors:
        for other in found:
            vector = vector - (other @ vector) * other
        found.append(vector / vector.norm().clamp(min=SMALLEST))
    return torch.stack(found)

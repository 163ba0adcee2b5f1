"""LoKr, the Kronecker product with a low-rank factor (Yeh et al. 2023, arXiv:2309.14859; as LyCORIS, `modules/lokr.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.formats.algorithms import Tensors, evened, shapes_in_words
from lorapipe.formats.algorithms._tucker import tucker, with_core
from lorapipe.formats.algorithms._weight_decomposition import DORA, DecomposableAlgorithm

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")


class LokrAlgorithm(DecomposableAlgorithm):
    """ΔW = (alpha / rank) · w1 ⊗ w2. Each factor is full or low-rank; where both are full, alpha is ignored.

    `w1` (out_l, in_m), or `w1_a` (out_l, r) · `w1_b` (r, in_m). `w2` (out_k, in_n[, k, k]), or `w2_a` (out_k, r) · `w2_b`
    (r, in_n · k · k), or in Tucker form `t2` (r, r, k, k), `w2_a` (r, out_k), `w2_b` (r, in_n).
    """

    keys: ClassVar = {**{name: f"lokr_{name}" for name in NAMES}, **DORA}
    peft_keys: ClassVar = {name: f"lokr_{name}" for name in NAMES}
    peft_type: ClassVar = "LOKR"
    peft_writes: ClassVar = False  # PEFT's own shapes follow from its settings, and need not be ours
    optional: ClassVar = frozenset(keys)

    def rank(self, tensors: Tensors) -> int:
        """Return the rank of the low-rank factor; 1 where both factors are full."""
        low = [tensors[name] for name in ("w1_b", "w2_b") if name in tensors]
        return int(low[0].shape[0]) if low else 1

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return 1.0 if "w1" in tensors and "w2" in tensors else alpha / self.rank(tensors)

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        """Multiply alpha / r into a product of two full factors: PEFT does so, and LyCORIS ignores alpha there."""
        if not ("w1" in tensors and "w2" in tensors):
            return dict(tensors)
        return {**tensors, "w2": tensors["w2"] * (config.get("alpha", 8) / (config.get("r") or 8))}

    def missing(self, tensors: Tensors) -> list[str]:
        found: list[str] = []
        for whole in ("w1", "w2"):
            pair = [f"{whole}_a", f"{whole}_b"]
            if whole not in tensors:
                lacking = [name for name in pair if name not in tensors]
                found += [whole] if len(lacking) == 2 else lacking
        return found

    def product(self, tensors: Tensors, alpha: float) -> Tensor:
        import torch

        left, right = whole(tensors, "w1"), whole(tensors, "w2")
        left = left.reshape(*left.shape, *[1] * (right.dim() - 2))
        return torch.kron(left, right.contiguous()) * self.scale(tensors, alpha)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        name = "w2" if "w2" in tensors else "w2_b"
        return {**tensors, name: tensors[name] * factor}

    def norm(self, tensors: Tensors, alpha: float) -> float | None:
        if "t2" in tensors or "dora_scale" in tensors:
            return None
        squares = [float((whole(tensors, name) ** 2).sum()) for name in ("w1", "w2")]  # ‖w1 ⊗ w2‖ = ‖w1‖ · ‖w2‖
        return abs(self.scale(tensors, alpha)) * (squares[0] * squares[1]) ** 0.5

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        if "w2" not in tensors:
            return evened(tensors, "w2_b", "w2_a")
        return evened(tensors, "w2", "w1" if "w1" in tensors else "w1_a")

    def portable(self, tensors: Tensors) -> dict[str, Tensor]:
        """Remove the Tucker core, which ComfyUI and Forge cannot read: `w2_b` becomes (r, in_n · k · k)."""
        if (core := tensors.get("t2")) is None:
            return dict(tensors)
        flat = {name: tensor for name, tensor in tensors.items() if name != "t2"}
        return {**flat, "w2_a": tensors["w2_a"].T, "w2_b": with_core(core, tensors["w2_b"])}

    def product_flaw(self, tensors: Tensors) -> str:
        shapes = shapes_in_words(tensors)
        if any(not tensor.numel() for tensor in tensors.values()):
            return f"its factors are empty, {shapes}"
        for name in ("w1", "w2"):
            if name in tensors and f"{name}_a" in tensors:
                return f"it has {name} as a whole and in two factors, {shapes}"
        core = tensors.get("t2")
        left = tensors["w1"].dim() == 2 if "w1" in tensors else _are_factors(tensors["w1_a"], tensors["w1_b"])
        if "w2" in tensors:
            right = tensors["w2"].dim() in (2, 4) and core is None
        else:
            right = _are_factors(tensors["w2_a"], tensors["w2_b"], core)
        return "" if left and right else f"its shapes do not fit, {shapes}"


def whole(tensors: Tensors, name: str) -> Tensor:
    """Return w1 or w2 as a full matrix, multiplied out where it is low-rank."""
    if name in tensors:
        return tensors[name]
    a, b, core = tensors[f"{name}_a"], tensors[f"{name}_b"], tensors.get("t2") if name == "w2" else None
    return a @ b if core is None else tucker(core, a, b)


def factorization(size: int, factor: int) -> tuple[int, int]:
    """Split a size into two integer factors, the smaller first, as LyCORIS does (`functional/general.py`).

    (factor, size / factor) where `factor` divides the size; else the most square pair whose smaller number is at most
    `factor`. −1 allows all pairs: 320 by −1 is (16, 20), by 8 is (8, 40); 1280 by −1 is (32, 40).
    """
    if factor > 0 and size % factor == 0:
        return min(factor, size // factor), max(factor, size // factor)
    most = size if factor < 0 else factor
    small = max(each for each in range(1, int(size**0.5) + 1) if size % each == 0 and (each <= most or each == 1))
    return small, size // small


def _are_factors(a: Tensor, b: Tensor, core: Tensor | None = None) -> bool:
    if a.dim() != 2 or b.dim() != 2:
        return False
    if core is None:
        return a.shape[1] == b.shape[0]
    return core.dim() == 4 and tuple(core.shape[:2]) == (a.shape[0], b.shape[0])

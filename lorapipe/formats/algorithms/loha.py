"""LoHa, the low-rank Hadamard product (Hyeon-Woo et al. 2021, FedPara, arXiv:2108.06098; as LyCORIS, `modules/loha.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Tensors, evened, shapes_in_words
from lorapipe.formats.algorithms._tucker import tucker
from lorapipe.formats.algorithms._weight_decomposition import DORA, DecomposableAlgorithm

if TYPE_CHECKING:
    from torch import Tensor

FACTORS = ("w1_a", "w1_b", "w2_a", "w2_b")


class LohaAlgorithm(DecomposableAlgorithm):
    """ΔW = (alpha / rank) · (w1_a · w1_b) ⊙ (w2_a · w2_b): rank up to r² with the parameters of a LoRA of rank 2r.

    `w*_a` (out, r), `w*_b` (r, in · k · k). With `t1`, `t2` (r, r, k, k) both products are in Tucker form: `w*_a` (r, out),
    `w*_b` (r, in).
    """

    keys: ClassVar = {**{name: f"hada_{name}" for name in (*FACTORS, "t1", "t2")}, **DORA}
    peft_keys: ClassVar = {name: f"hada_{name}" for name in (*FACTORS, "t1", "t2")}
    peft_type: ClassVar = "LOHA"
    optional: ClassVar = frozenset({"t1", "t2", *DORA})

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["w1_b"].shape[0])

    def missing(self, tensors: Tensors) -> list[str]:
        cores = {"t1": "t2", "t2": "t1"}
        return super().missing(tensors) + [
            one for other, one in cores.items() if other in tensors and one not in tensors
        ]

    def product(self, tensors: Tensors, alpha: float) -> Tensor:
        def half(number: int) -> Tensor:
            a, b, core = tensors[f"w{number}_a"], tensors[f"w{number}_b"], tensors.get(f"t{number}")
            return a @ b if core is None else tucker(core, a, b)

        return alpha / self.rank(tensors) * (half(1) * half(2))

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "w2_a": tensors["w2_a"] * factor}

    def rows(self, tensors: Tensors, first: int, last: int) -> dict[str, Tensor] | None:
        halves = {name: tensors[name][first:last] for name in ("w1_a", "w2_a")}
        return {**tensors, **halves} if tensors.keys() == {*FACTORS} else None

    def norm(self, tensors: Tensors, alpha: float) -> float | None:
        if tensors.keys() != {*FACTORS}:
            return None
        product = (tensors["w1_a"] @ tensors["w1_b"]) * (tensors["w2_a"] @ tensors["w2_b"])
        return abs(alpha) / self.rank(tensors) * float((product**2).sum()) ** 0.5

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        return evened(tensors, "w2_a", "w2_b")

    def product_flaw(self, tensors: Tensors) -> str:
        shapes = shapes_in_words(tensors)
        if any(tensors[name].dim() != 2 or not tensors[name].numel() for name in FACTORS):
            return f"its factors are not matrices, {shapes}"
        first, second = ((tensors[f"w{number}_a"].shape, tensors[f"w{number}_b"].shape) for number in (1, 2))
        if "t1" in tensors:
            core, rank = tensors["t1"].shape, first[1][0]
            fits = tensors["t2"].shape == core and len(core) == 4 and core[:2] == (rank, rank) and first[0][0] == rank
        else:
            fits = first[0][1] == first[1][0]
        return "" if fits and first == second else f"its ranks do not fit, {shapes}"

"""Shapes of LoKr's tensors, by LyCORIS' rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.formats.algorithms.lokr import factorization


@dataclass(frozen=True)
class Form:
    """Factorisation of a weight into LoKr's tensors; the fields are knobs of `lokr`."""

    factor: int = -1
    is_whole: bool = False
    decompose_both: bool = False
    tucker: bool = False

    def shapes(self, shape: Sequence[int], rank: int) -> dict[str, tuple[int, ...]]:
        """Return the tensors' shapes for a weight of this shape, by LyCORIS' rules (`modules/lokr.py`)."""
        out, inputs, *kernel = shape
        (out_l, out_k), (in_m, in_n) = factorization(out, self.factor), factorization(inputs, self.factor)
        if self.decompose_both and not self.is_whole and rank < max(out_l, in_m) / 2:
            left: dict[str, tuple[int, ...]] = {"w1_a": (out_l, rank), "w1_b": (rank, in_m)}
        else:
            left = {"w1": (out_l, in_m)}
        if self.is_whole or rank >= max(out_k, in_n) / 2:
            return {**left, "w2": (out_k, in_n, *kernel)}
        if self.tucker and math.prod(kernel) > 1:
            return {**left, "w2_a": (rank, out_k), "w2_b": (rank, in_n), "t2": (rank, rank, *kernel)}
        return {**left, "w2_a": (out_k, rank), "w2_b": (rank, in_n * math.prod(kernel))}

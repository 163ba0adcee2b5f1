"""The truncated singular value decomposition of an update that is a product of two factors, as a LoRA's is.

ΔW = up · down is never formed: the QR decompositions up = Q₁R₁ and downᵀ = Q₂R₂ leave the singular values of the small core
R₁R₂ᵀ. NumPy is enough, which is loaded in a tenth of PyTorch's time and memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TruncatedSvd:
    """A ≈ left · diag(values) · right, with left (m, k), values (k,) and right (k, n); `total` is ‖A‖²."""

    left: Array
    values: Array
    right: Array
    total: float

    @property
    def rank(self) -> int:
        """Number of directions kept."""
        return len(self.values)

    @property
    def kept(self) -> float:
        """Share of ‖A‖² that is kept, 0 … 1."""
        return min(1.0, square_of(self.values) / self.total) if self.total else 1.0

    @property
    def error(self) -> float:
        """Return ‖A − A_k‖ / ‖A‖."""
        return math.sqrt(1 - self.kept)

    def factors(self) -> tuple[Array, Array]:
        """Return up (m, k) and down (k, n), with √values on both sides: equal ranges, which suit fp16."""
        root = np.sqrt(self.values)
        return self.left * root, root[:, None] * self.right


def factor_svd(up: Array, down: Array, chosen: Callable[[Array], int]) -> TruncatedSvd:
    """Return the truncated SVD of up · down, (m, r) and (r, n).

    `chosen` returns how many directions to keep, for all singular values.
    """
    (left, upper), (right, lower) = np.linalg.qr(up), np.linalg.qr(down.T)
    u, values, v = np.linalg.svd(upper @ lower.T, full_matrices=False)
    rank = chosen(values)
    return TruncatedSvd(left @ u[:, :rank], values[:rank], v[:rank] @ right.T, square_of(values))


def square_of(values: Array) -> float:
    """Return Σ value² in double precision."""
    return float(np.square(values, dtype=np.float64).sum())

"""Truncated singular value decomposition of a matrix, by rank, by share of energy, or by Frobenius norm.

Large matrices get the randomised range finder with power iterations (Halko, Martinsson & Tropp 2011, arXiv:0909.4061,
algorithms 4.4 and 5.1). Since ‖A − QQᵀA‖² = ‖A‖² − ‖QᵀA‖², the error is known exactly, and the iterations end where another
one would no longer lower it by the stated tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lorapipe.lora_tools.factored_svd import TruncatedSvd

TOLERANCE = 0.005
"""The error ‖A − A_k‖ is within this share of the best possible one, for the spectra of weight differences."""
OVERSAMPLING = 12
"""Columns beyond the rank (Halko et al., §4.2)."""
MOST_ITERATIONS = 6
EXACT_SIDE = 64
"""Matrices with a side up to this get an exact decomposition."""
WIDE = 3
"""So does a matrix whose shorter side is less than this many times the number of columns."""


@dataclass(frozen=True)
class RankRule:
    """How many singular directions to keep: at most `rank`, and no more than needed for the other limits.

    `energy` is the share of ‖A‖² to keep (0 … 1). `threshold` is a Frobenius norm: what is left out may have at most this.
    Directions with singular values up to `floor` are never kept; it is meant for rounding noise.
    """

    rank: int
    energy: float | None = None
    threshold: float | None = None
    floor: float = 0.0

    def enough(self, values: Tensor, total: float) -> int | None:
        """Return the number of directions to keep; None if these largest singular values do not reach a limit.

        `values` (k,) fall; `total` is ‖A‖².
        """
        kept = values.double().square().cumsum(0)
        above = int((values > self.floor).sum())
        goals = [total * self.energy] if self.energy is not None else []
        if self.threshold is not None:
            goals.append(total - self.threshold**2)
        found = self.rank
        if goals:
            goal = min(goals) * (1 - 1e-7)
            needed = 0 if goal <= 0 else int((kept < goal).sum()) + 1
            if needed > len(values) and above == len(values) < self.rank:
                return None
            found = min(found, needed)
        return min(found, above, len(values))

    @property
    def is_fixed(self) -> bool:
        """Whether the number is `rank`, whatever the spectrum."""
        return self.energy is None and self.threshold is None


def energy_of(matrix: Tensor) -> float:
    """Return ‖A‖², summed in double precision over rows, so that millions of elements do not lose digits."""
    rows = matrix.flatten(1) if matrix.dim() > 1 else matrix[None]
    return float(torch.linalg.vector_norm(rows, dim=1).double().square().sum())


def truncated_svd(
    matrix: Tensor, rule: RankRule, *, tolerance: float = TOLERANCE, total: float | None = None
) -> TruncatedSvd:
    """Decompose a matrix (m, n), float32; deterministic. `total` is ‖A‖², if it is known already."""
    total = energy_of(matrix) if total is None else total
    least, width = min(matrix.shape), min(rule.rank, *matrix.shape)
    if not total:
        return _cut(matrix.new_zeros(len(matrix), 0), matrix.new_zeros(0), matrix.new_zeros(0, matrix.shape[1]), 0, 0.0)
    columns = width if rule.is_fixed else min(width, 32)
    while least > EXACT_SIDE and WIDE * (columns + OVERSAMPLING) < least:
        left, values, right = _randomised(matrix, columns, total, tolerance)
        if (rank := rule.enough(values[:columns], total)) is not None:
            return _cut(left, values, right, rank, total)
        columns = min(width, 2 * columns)
    left, values, right = exact_svd(matrix)
    return _cut(left, values, right, rule.enough(values, total) or 0, total)


def _cut(left: Tensor, values: Tensor, right: Tensor, rank: int, total: float) -> TruncatedSvd:
    return TruncatedSvd(left[:, :rank].cpu().numpy(), values[:rank].cpu().numpy(), right[:rank].cpu().numpy(), total)


def exact_svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose by LAPACK; of flat matrices, the triangular factor of their QR decomposition."""
    rows, columns = matrix.shape
    if rows > 2 * columns:
        basis, rest = torch.linalg.qr(matrix)
        left, values, right = torch.linalg.svd(rest, full_matrices=False)
        return basis @ left, values, right
    if columns > 2 * rows:
        left, values, right = exact_svd(matrix.T)
        return right.T, values, left.T
    found: tuple[Tensor, Tensor, Tensor] = torch.linalg.svd(matrix, full_matrices=False)
    return found


def _randomised(matrix: Tensor, rank: int, total: float, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose within a random subspace of rank + `OVERSAMPLING` columns, improved by power iterations."""
    wide = min(rank + OVERSAMPLING, *matrix.shape)
    generator = torch.Generator(matrix.device).manual_seed(0)
    drawn = torch.randn(matrix.shape[1], wide, generator=generator, device=matrix.device)
    basis, before, gain = orthonormal(matrix @ drawn), 0.0, 0.0
    for iteration in range(MOST_ITERATIONS + 1):
        inner = matrix.T @ basis  # (n, l): the transpose of QᵀA
        other = orthonormal(inner)
        small = other.T @ inner
        kept = float(torch.linalg.svdvals(small.double())[:rank].square().sum())
        last, gain, before = gain, kept - before, kept
        if iteration and _is_settled(gain, last, total - kept, tolerance, first=iteration == 1):
            break
        if iteration < MOST_ITERATIONS:
            basis = orthonormal(matrix @ other)
    left, values, right = torch.linalg.svd(small.T)
    return basis @ left, values, right @ other.T


def _is_settled(gain: float, last: float, left_out: float, tolerance: float, *, first: bool) -> bool:
    """Return whether further iterations lower the error by less than the tolerance.

    The gains of iterations fall at least geometrically: by the measured ratio, or, after the first iteration, a half.
    """
    ratio = 0.5 if first else min(gain / last, 0.9) if last > 0 else 0.0
    ahead = gain * ratio / (1 - ratio)
    return ahead <= 2 * tolerance * max(left_out, 0.0) or gain <= 1e-9 * (left_out + gain)


def orthonormal(columns: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns (m, l): by Cholesky's factor of the Gram matrix, twice, which is fast.

    (CholeskyQR2, Fukaya et al. 2014.) Where the columns are nearly dependent, Householder's QR decomposition is used.
    """
    found = columns
    for _ in range(2):
        gram = (found.T @ found).double()
        factor, failed = torch.linalg.cholesky_ex(gram)
        diagonal = factor.diagonal()
        if int(failed) or not float(diagonal.min()) > 1e-3 * float(diagonal.max()):
            basis: Tensor = torch.linalg.qr(columns)[0]
            return basis
        inverse = torch.linalg.solve_triangular(
            factor, torch.eye(len(gram), dtype=gram.dtype, device=gram.device), upper=False
        )
        found = found @ inverse.T.to(found.dtype)
    return found

"""The Cayley transform: rotation matrices from unconstrained ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rotations(blocks: Tensor, limit: float | Tensor) -> Tensor:
    """Map unconstrained (n, b, b) to n rotation matrices; `limit` bounds the norm of all Q together, 0 means no limit."""
    skew = blocks - blocks.transpose(1, 2)
    if limit:
        skew = skew * (limit / skew.norm().clamp(min=1e-12)).clamp(max=1)
    return cayley(skew)


def cayley(skew: Tensor) -> Tensor:
    """Return (I + Q)(I − Q)⁻¹ of skew-symmetric matrices Q (n, b, b)."""
    import torch

    unit = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
    solved: Tensor = torch.linalg.solve(unit - skew, unit + skew, left=False)
    return solved

"""The Tucker decomposition of a convolution's weight (LyCORIS' `use_tucker`, in older versions `use_cp`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Compute Σᵢⱼ core[i, j, x, y] · a[i, o] · b[j, c]: core (r, r, k, k), a (r, out), b (r, in) → (out, in, k, k)."""
    import torch

    return torch.einsum("ijxy,io,jc->ocxy", core, a, b)


def with_core(core: Tensor, b: Tensor) -> Tensor:
    """Multiply the core into b: the result B is (r, in · k · k), and aᵀ · B is `tucker(core, a, b)` as a matrix."""
    import torch

    return torch.einsum("ijxy,jc->icxy", core, b).flatten(1)

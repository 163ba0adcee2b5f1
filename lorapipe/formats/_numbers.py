"""Finds tensors that hold no weights: integers, NaN, infinite and huge numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.formats._unread_keys import first_few

if TYPE_CHECKING:
    from torch import Tensor

DIVERGED = "Its training has diverged, or the file is damaged: it cannot be used."
HUGE = 1e18
"""Weights of this size are of no trained adapter; products of two would exceed float32."""


def problems(tensors: Mapping[str, Tensor], flags: Sequence[str] = ()) -> Iterator[Problem]:
    """Yield integer tensors (of a quantised file), and tensors with infinite, NaN or huge values.

    Keys that end in one of `flags` may hold integers.
    """
    flags = tuple(f".{suffix}" for suffix in flags)
    whole = [key for key, tensor in tensors.items() if not tensor.is_floating_point() and not key.endswith(flags)]
    if whole:
        what = f"holds whole numbers ({tensors[whole[0]].dtype}) where weights should be: {first_few(whole)}."
        yield Problem(what, cure="Give the file as it was before it was quantised.")
    odd = [key for key, tensor in tensors.items() if not bool(tensor.float().isfinite().all())]
    if odd:
        what = f"holds what is no number (NaN or infinite): {first_few(odd)}."
        yield Problem(what, cure=DIVERGED)
    if huge := [key for key, tensor in tensors.items() if _is_huge(tensor)]:
        yield Problem(f"holds numbers above {HUGE:.0e}: {first_few(huge)}.", cure=DIVERGED)


def _is_huge(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() > 0 and HUGE <= float(tensor.float().abs().max()) < math.inf

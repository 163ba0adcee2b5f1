"""Estimate of the memory that a training needs. Does not import torch: plans show it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lorapipe.models import Activations, Footprint

CARDS = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 80, 96, 141)
"""Memory of common GPUs in GiB."""
FREE = 0.94
"""Share of a card's memory that a program can use; desktop and driver take the rest."""
RUNTIME = 0.85e9
"""Bytes that CUDA and its libraries take (`benchmarks/card.py`: 0.81e9)."""
MARGIN = 1.08
"""Factor for fragmentation and workspaces of kernels (1.03 to 1.08)."""


@dataclass(frozen=True)
class Need:
    """Memory in bytes, by purpose."""

    base: float
    adapter: float
    pictures: float

    @property
    def total(self) -> float:
        """The sum, with margin and runtime."""
        return (self.base + self.adapter + self.pictures) * MARGIN + RUNTIME

    def card(self) -> int | None:
        """Return the memory of the smallest sufficient card, in GiB; None if no card is large enough."""
        return next((size for size in CARDS if size * 2**30 * FREE >= self.total), None)


def need(
    footprint: Footprint,
    activations: Activations,
    parts: Collection[str],
    numbers: int,
    bytes_of_number: float,
    pixels: int,
    *,
    bytes_each: int = 2,
    checkpointing: bool = False,
) -> Need:
    """Estimate a training of `numbers` parameters in these parts; the denoiser is always in memory.

    Each takes `bytes_of_number` with its gradient and the optimizer's state (`Adapter.bytes_each`). `pixels` is the number
    of the largest batch's; the base takes `bytes_each` per weight.
    """
    base = sum(footprint.parameters[part] for part in {footprint.denoiser, *parts}) * bytes_each
    kept = activations.recomputed if checkpointing else activations.kept
    # With checkpointing, the block that is being recomputed is kept too.
    block = (activations.kept - activations.recomputed) / 12 if checkpointing else 0
    return Need(base, numbers * bytes_of_number, (kept + block) * pixels * bytes_each / 2)

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
BLOCK = 1 / 12
"""Share of what gradient checkpointing saves that the block which is being computed again takes."""
MARGIN = 1.08
"""Factor for fragmentation and workspaces of kernels (1.03 to 1.08)."""


def usable_bytes(card: float) -> float:
    """Return the bytes that a program can use of a card of so many GiB."""
    return card * 2**30 * FREE


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
        return next((size for size in CARDS if usable_bytes(size) >= self.total), None)


def need(
    footprint: Footprint,
    activations: Activations,
    parts: Collection[str],
    numbers: int,
    bytes_of_number: float,
    pixels: int,
    *,
    bytes_each: int = 2,
    recomputed: float = 0.0,
) -> Need:
    """Estimate a training of `numbers` parameters in these parts; the denoiser is always in memory.

    Each takes `bytes_of_number` with its gradient and the optimizer's state (`Adapter.bytes_each`). `pixels` is the number
    of the largest batch's; the base takes `bytes_each` per weight. `recomputed` is the share of what gradient checkpointing
    can save that it does save: 1 for all blocks.
    """
    base = sum(footprint.parameters[part] for part in {footprint.denoiser, *parts}) * bytes_each
    saved = (activations.kept - activations.recomputed) * max(0.0, recomputed - BLOCK)
    return Need(base, numbers * bytes_of_number, (activations.kept - saved) * pixels * bytes_each / 2)

"""How much memory a training will need, by counting what it keeps. Light: plans read it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lorapipe.models import Activations, Footprint

CARDS = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 80, 96, 141)
"""GB of cards that are sold."""
FREE = 0.94
"""The share of a card that a program gets: the desktop and the driver have the rest."""
RUNTIME = 0.85e9
"""What CUDA and its libraries take (`benchmarks/card.py`: 0.81)."""
MARGIN = 1.08
"""What the allocator loses between pieces, and kernels work in (1.03 to 1.08)."""


@dataclass(frozen=True)
class Need:
    """Bytes, by what they are for."""

    base: float
    adapter: float
    pictures: float

    @property
    def total(self) -> float:
        """All of it, with what the runtime takes."""
        return (self.base + self.adapter + self.pictures) * MARGIN + RUNTIME

    def card(self) -> int | None:
        """The smallest card, in GB, that has room for it; None where none has."""
        return next((size for size in CARDS if size * 2**30 * FREE >= self.total), None)


def need(
    footprint: Footprint,
    activations: Activations,
    parts: Collection[str],
    numbers: int,
    states: float,
    pixels: int,
    *,
    bytes_each: int = 2,
    checkpointing: bool = False,
) -> Need:
    """The memory of a training of `numbers` in these parts; the denoiser is there in any case.

    `states` are the optimizer's numbers for each parameter, `pixels` those of the largest batch; the base is held in
    `bytes_each` a number.
    """
    base = sum(footprint.parameters[part] for part in {footprint.denoiser, *parts}) * bytes_each
    kept = activations.recomputed if checkpointing else activations.kept
    block = (
        (activations.kept - activations.recomputed) / 12 if checkpointing else 0
    )  # the block that is being recomputed
    return Need(base, 4 * numbers * (2 + states), (kept + block) * pixels * bytes_each / 2)

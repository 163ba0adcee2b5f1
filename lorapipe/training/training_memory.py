"""The GPU memory of a training, by its settings, and how much of it gradient checkpointing has to save. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from lorapipe.formats import EMBEDDING
from lorapipe.training.memory_estimate import Need, need

if TYPE_CHECKING:
    from lorapipe.models import Family, Footprint
    from lorapipe.training.options import TrainingOptions


@dataclass(frozen=True)
class Checkpointing:
    """The denoiser's blocks that are computed again in the backward pass, by path; the number of all; what remains."""

    blocks: tuple[str, ...]
    total: int
    need: Need
    fits: bool

    def __str__(self) -> str:
        if not self.blocks:
            return "no block"
        return "all blocks" if len(self.blocks) == self.total else f"{len(self.blocks)} of {self.total} blocks"


def needs(train: TrainingOptions, base: Family, pixels: int) -> Callable[[float], Need] | None:
    """Return the training's memory as a function of `need`'s `recomputed`; None if it is unknown.

    Unknown are bases of another shape than the published one, and adapters that do not tell their size. `pixels` is the area
    of the largest picture.
    """
    footprint = base.footprint()
    if footprint is None or footprint.activations is None:
        return None
    rates = train.rates(base.roles)
    parts = [part for part in rates if part in base.roles]
    numbers = train.adapter.size(footprint, parts)
    if not numbers:
        return None
    if EMBEDDING in rates:
        parts = [*{*parts, *(part for part, role in base.roles.items() if role == "text_encoder")}]
    held, one = _bytes_held(train), _bytes_of_one_step(train, footprint, parts)
    own = train.adapter.activations(footprint, parts) * 2 / held  # `need` counts in half precision
    needed = partial(
        need,
        footprint,
        replace(footprint.activations, kept=footprint.activations.kept + round(own)),
        parts,
        numbers,
        train.adapter.bytes_each(train.optimizer.states, held) + bytes_of_average(train) + one / numbers,
        pixels * train.batch,
        bytes_each=held,
    )
    return lambda recomputed: needed(recomputed=recomputed)


def memory(train: TrainingOptions, base: Family, pixels: int) -> Need | None:
    """Return the training's memory with the checkpointing that is asked for; where that is auto, with none."""
    found = needs(train, base, pixels)
    return None if found is None else found(1.0 if train.gradient_checkpointing is True else 0.0)


def fewest_blocks(train: TrainingOptions, base: Family, pixels: int, available: float) -> Checkpointing | None:
    """Return the fewest blocks to compute again with which the training takes at most `available` bytes.

    All blocks where even these are not enough; None where the memory is unknown.
    """
    found, footprint = needs(train, base, pixels), base.footprint()
    if found is None or footprint is None:
        return None
    blocks = [*footprint.recomputed]
    for count, share in enumerate(accumulate(footprint.recomputed.values(), initial=0.0)):
        estimate = found(1.0 if count == len(blocks) else share)
        if estimate.total <= available:
            return Checkpointing(tuple(blocks[:count]), len(blocks), estimate, True)
    return Checkpointing(tuple(blocks), len(blocks), found(1.0), False)


def _bytes_held(train: TrainingOptions) -> int:
    """Return the bytes of each of the base's weights on a GPU."""
    return 4 if train.precision == "fp32" else 2


def _bytes_of_one_step(train: TrainingOptions, footprint: Footprint, parts: Sequence[str]) -> int:
    """Return the bytes for stepping the largest weight (gradient and update in fp32), if weights are stepped one by one."""
    refs = [ref for part in parts for ref in footprint.modules(part)] if train.adapter.steps_apart else []
    return 16 * max((math.prod(ref.shape) for ref in refs), default=0)


def bytes_of_average(train: TrainingOptions) -> int:
    """Return the bytes of the moving average of each trained number."""
    return 4 if train.ema is not None else 0

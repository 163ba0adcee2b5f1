"""The settings of a training that take memory, and what is changed, in which order, until it fits a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from lorapipe.errors import InputError
from lorapipe.spec import from_dict
from lorapipe.stages import Stage
from lorapipe.training.memory_estimate import FREE

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.training.options import TrainingOptions

GIB = 2**30
LEAST_RANK = 8
"""The rank below which it is not lowered for memory."""
LEAST_RESOLUTION = 0.75
"""Of the base's own side: the lowest resolution for memory."""


@dataclass(frozen=True)
class TrainingSize:
    """What takes memory. `resolution` is the side of a square in pixels."""

    adapter: str
    rank: int
    resolution: int
    optimizer: str
    batch: int = 1
    checkpointing: bool = False
    text_encoder: bool = True

    def need(self, base: Family) -> float | None:
        """Return the bytes on a GPU, as `lorapipe plan` estimates them; None if that is unknown."""
        from lorapipe.training.training_memory import memory

        contract: type[Stage] = Stage  # type: ignore[type-abstract]  # the registry finds the file
        plain: dict[str, object] = {
            "uses": "train",
            "dataset": "$dataset",
            "adapter": {"type": self.adapter, "rank": self.rank},
            "optimizer": self.optimizer,
            "batch": self.batch,
            "gradient_checkpointing": self.checkpointing or "auto",
            **({} if self.text_encoder else {"text_encoder_lr": 0}),
        }
        train = cast("TrainingOptions", from_dict(contract, plain))
        found = memory(train, base, self.resolution**2)
        return None if found is None else found.total

    def fits(self, base: Family, vram: float) -> bool:
        """Return whether it fits a card of so many GB; true where the need is unknown."""
        found = self.need(base)
        return found is None or found <= vram * GIB * FREE


Step = tuple[str, str, Callable[["TrainingSize"], "TrainingSize"]]


def fitted(size: TrainingSize, base: Family, vram: float | None) -> tuple[TrainingSize, dict[str, str]]:
    """Return a size that fits the card, and the reason of each setting that was changed for it.

    `InputError` if nothing fits.
    """
    why: dict[str, str] = {}
    if vram is None or size.fits(base, vram):
        return size, why
    for name, reason, smaller in _steps(base):
        changed = smaller(size)
        if changed != size:
            size, why[name] = changed, f"{reason}, to fit {vram:g} GB"
        if size.fits(base, vram):
            return size, why
    least = (size.need(base) or 0) / GIB / FREE
    what = f"no settings fit a card of {vram:g} GB: the least is {least:.1f} GB for {base.name}."
    raise InputError(what, where="--vram", cure="Take a larger card, or a smaller base (SD1.x).")


def _steps(base: Family) -> Iterator[Step]:
    """Yield what can be changed, the least harmful first."""
    yield "batch", "one picture at a time", lambda size: replace(size, batch=1)
    how = "activations are computed twice in place of stored: a fifth of the memory, 1.3 times the time"
    yield "gradient_checkpointing", how, lambda size: replace(size, checkpointing=True)
    yield "optimizer", "half of prodigy's memory", lambda size: replace(size, optimizer="adamw")
    yield "text_encoder_lr", "the text encoder is not trained", lambda size: replace(size, text_encoder=False)
    for share in (0.875, 0.8125, LEAST_RESOLUTION):
        side = int(base.native_size() * share) // 64 * 64 or base.native_size()
        yield "resolution", "smaller pictures", partial(_no_larger, side=side)
    for rank in (64, 32, 16, LEAST_RANK):
        yield "adapter", "a lower rank", partial(_no_larger, rank=rank)


def _no_larger(size: TrainingSize, side: int = 8192, rank: int = 100_000) -> TrainingSize:
    return replace(size, resolution=min(size.resolution, side), rank=min(size.rank, rank))

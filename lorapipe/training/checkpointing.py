"""Which of the denoiser's blocks a training computes again in the backward pass (`gradient_checkpointing`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from lorapipe.pipeline.events import Log
from lorapipe.training import device as devices
from lorapipe.training.training_memory import fewest_blocks

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.pipeline.context import Context
    from lorapipe.training.data.training_set import TrainingSet
    from lorapipe.training.options import TrainingOptions


def chosen_blocks(
    options: TrainingOptions, pictures: TrainingSet, context: Context, device: str
) -> bool | tuple[str, ...]:
    """Return the blocks, by path, or whether it is all or none; where `auto` has chosen some, it is told.

    With several devices, each has its share of a batch.
    """
    if options.gradient_checkpointing != "auto":
        return options.gradient_checkpointing
    if (available := devices.memory_of(device)) is None:
        return False
    share = replace(options, batch=-(-options.batch // (1 + context.device.count("+"))))
    largest = max(width * height for width, height in pictures.buckets())
    found = fewest_blocks(share, cast("Family", options.dataset.base), largest, available)
    if found is None or not found.blocks:
        return False
    enough = "" if found.fits else "; the estimate is above that even so"
    why = f"to fit into {available / 1e9:.1f} GB by the plan's estimate{enough}"
    context.emit(Log(text=f"gradient_checkpointing: auto computes {found} again, {why}"))
    return found.blocks

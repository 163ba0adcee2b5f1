"""An adapter in a model for as long as a training lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lorapipe.training.adapters import Adapter, Injected
from lorapipe.training.families import Model


@contextmanager
def injected(adapter: Adapter, model: Model, parts: Sequence[str], seed: int = 0) -> Iterator[Injected]:
    """The adapter in these parts of the model, which is what it was at the end, whatever happens."""
    handle = adapter.inject(model, parts, seed)
    try:
        yield handle
    finally:
        handle.eject()


@contextmanager
def recomputed(model: Model, wanted: bool = True) -> Iterator[None]:
    """Gradient checkpointing, if `wanted`: blocks keep their input and compute the rest again on the way back.

    Of the U-Net, which holds nearly all of a training's memory (Chen et al. 2016, arXiv:1604.06174).
    """
    unet = model.part("unet")
    if not wanted:
        yield
        return
    unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()

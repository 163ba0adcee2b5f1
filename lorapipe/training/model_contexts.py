"""An adapter in a model for as long as a training lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lorapipe.models import Model
from lorapipe.training.adapters import Attachable, Attached


@contextmanager
def attached(adapter: Attachable, model: Model, parts: Sequence[str], seed: int = 0) -> Iterator[Attached]:
    """The adapter in these parts of the model, which is what it was at the end, whatever happens."""
    handle = adapter.attach(model, parts, seed)
    try:
        yield handle
    finally:
        handle.detach()


@contextmanager
def compiled(model: Model, wanted: bool = True, backend: str = "inductor") -> Iterator[None]:
    """The denoiser compiled by torch, if `wanted`: each size of picture costs a minute or so the first time.

    The adapter must be in it. What was compiled is forgotten at the end, since it has the adapter inside.
    """
    denoiser = model.part(model.denoiser)
    if not wanted:
        yield
        return
    import torch

    denoiser.compile(backend=backend, dynamic=False)
    try:
        yield
    finally:
        denoiser._compiled_call_impl = None
        torch.compiler.reset()


@contextmanager
def gradient_checkpointing(model: Model, wanted: bool = True) -> Iterator[None]:
    """Gradient checkpointing, if `wanted`: blocks keep their input and compute the rest again on the way back.

    Of the denoiser, which holds nearly all of a training's memory (Chen et al. 2016, arXiv:1604.06174).
    """
    denoiser = model.part(model.denoiser)
    if not wanted:
        yield
        return
    denoiser.enable_gradient_checkpointing()
    try:
        yield
    finally:
        denoiser.disable_gradient_checkpointing()

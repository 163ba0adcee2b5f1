"""Context managers that change a model for a while: attach an adapter, compile, gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lorapipe.models import Model
from lorapipe.training.adapters import Attachable, Attached


@contextmanager
def attached(adapter: Attachable, model: Model, parts: Sequence[str], seed: int = 0) -> Iterator[Attached]:
    """Attach the adapter to these parts; on exit, also after an error, the model is restored."""
    handle = adapter.attach(model, parts, seed)
    try:
        yield handle
    finally:
        handle.detach()


@contextmanager
def compiled(model: Model, wanted: bool = True, backend: str = "inductor") -> Iterator[None]:
    """Compile the denoiser with torch, if `wanted`: about a minute for each new picture size.

    Attach the adapter first. The compiled code contains the adapter, so it is discarded on exit.
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
    """Enable gradient checkpointing of the denoiser, if `wanted` (Chen et al. 2016, arXiv:1604.06174).

    Its blocks keep only their inputs and recompute the rest in the backward pass. The denoiser's activations are nearly all
    of a training's memory.
    """
    denoiser = model.part(model.denoiser)
    if not wanted:
        yield
        return
    import torch
    from torch.utils.checkpoint import checkpoint

    def checkpointed(module: torch.nn.Module, *args: object) -> object:
        """Keep the generators' states, except in a graph, which cannot and has no dropout then."""
        is_captured = model.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        return checkpoint(module.__call__, *args, use_reentrant=False, preserve_rng_state=not is_captured)

    denoiser.enable_gradient_checkpointing(checkpointed)
    try:
        yield
    finally:
        denoiser.disable_gradient_checkpointing()

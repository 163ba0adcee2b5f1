"""Context managers that change a model, or its kernels, for a while: adapter, gradient checkpointing, determinism."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
def deterministic_kernels(wanted: bool = True) -> Iterator[None]:
    """Let torch choose kernels that give the same bits each time on the same device, if `wanted`; restored on exit.

    An operation that has none raises RuntimeError. What cuBLAS needs for it, `Compute.of` has set.
    """
    if not wanted:
        yield
        return
    import torch

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # for finding mistakes; costs a kernel for each tensor
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled


@contextmanager
def gradient_checkpointing(model: Model, blocks: bool | Collection[str] = True) -> Iterator[None]:
    """Enable gradient checkpointing of the denoiser's `blocks`, by path; True: of all (Chen et al. 2016, arXiv:1604.06174).

    They keep only their inputs and recompute the rest in the backward pass. The denoiser's activations are nearly all of a
    training's memory.
    """
    denoiser = model.part(model.denoiser)
    if not blocks:
        yield
        return
    import torch
    from torch.utils.checkpoint import checkpoint

    chosen = None if blocks is True else {denoiser.get_submodule(path) for path in blocks}

    def checkpointed(module: torch.nn.Module, *args: object) -> object:
        """Keep the generators' states, except in a graph, which cannot and has no dropout then."""
        if chosen is not None and module not in chosen:
            return module(*args)
        is_captured = model.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        return checkpoint(module.__call__, *args, use_reentrant=False, preserve_rng_state=not is_captured)

    denoiser.enable_gradient_checkpointing(checkpointed)
    try:
        yield
    finally:
        denoiser.disable_gradient_checkpointing()

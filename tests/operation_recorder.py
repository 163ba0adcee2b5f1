"""Records operations on tensors and repeats them on the same memory, as a CUDA graph does with kernels, on the CPU.

Like a graph it repeats nothing of Python: a value that was read, a random number that was drawn on another generator, a
tensor that was made anew in a pass stay what they were when the work was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lorapipe.training.cuda_graphs import Work


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Sequence[Any], Mapping[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        is_view = any(each.alias_info is not None for each in func._schema.returns) and not func._schema.is_mutable
        if not is_view:
            self.done.append((func, args, kwargs or {}, None if func._schema.is_mutable else found))
        return found


class OperationRecorder:
    """A recorder without a device. What it records is done once, and gradients and generator are then as before."""

    def __init__(self, restored: Sequence[torch.Tensor]) -> None:
        self.restored, self.recorded, self.replayed = restored, 0, 0

    @contextmanager
    def beside(self) -> Iterator[None]:
        yield

    def record(self, work: Work) -> Work:
        gradients = [tensor.grad for tensor in self.restored if tensor.grad is not None]
        before, chance = [gradient.clone() for gradient in gradients], torch.get_rng_state()
        with _Operations() as operations:
            work()
        torch.set_rng_state(chance)
        for gradient, old in zip(gradients, before, strict=True):
            gradient.copy_(old)
        self.recorded += 1
        return lambda: self._replay(operations)

    @torch.no_grad()
    def _replay(self, operations: _Operations) -> None:
        self.replayed += 1
        for func, args, kwargs, outputs in operations.done:
            for new, old in zip(_tensors(func(*args, **kwargs)), _tensors(outputs), strict=False):
                old.copy_(new)


def _tensors(found: Any) -> list[torch.Tensor]:
    several = found if isinstance(found, (tuple, list)) else [found]
    return [each for each in several if isinstance(each, torch.Tensor)]

"""What a CUDA graph could not repeat, found by watching a pass that runs without one.

A graph repeats kernels, and nothing that Python does between them. A pass that reads a tensor's value in Python, or draws
random numbers on the host, would be captured with the values of that moment; capture itself forbids only what waits for the
device. So passes are watched, operation by operation, before they are captured.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

TORCH = str(Path(torch.__file__).parent)
DROPPED = "dropout under gradient checkpointing needs the state of its random numbers in Python"
ATTENTION = ("attention", "_sdp_")
"""In names of operations that torch counts as random since they may have dropout; bases of ours are in eval mode."""


class Obstacles(TorchDispatchMode):
    """Notes what happens inside the context, also in backward passes: `reasons`, without repetitions, and `is_random`.

    `device` is the model's; random numbers drawn there are of a generator that graphs know (`is_random`).
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.reasons: list[str] = []
        self.is_random = False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._local_scalar_dense.default:
            self._note("the value of a tensor is read in Python")
        elif torch.Tag.nondeterministic_seeded in func.tags and not any(word in func.name() for word in ATTENTION):
            if all(tensor.device.type == self.device.type for tensor in _tensors(found)):
                self.is_random = True
            else:
                self._note("random numbers are drawn on the host")
        elif func.name().startswith(("aten::_to_copy", "aten::copy_")) and _crosses(args, found):
            self._note("a tensor is copied between host and device")
        return found

    def _note(self, what: str) -> None:
        reason = f"{what} ({_place()})"
        if reason not in self.reasons:
            self.reasons.append(reason)


def _tensors(found: Any) -> Iterable[Tensor]:
    return (each for each in (found if isinstance(found, (tuple, list)) else (found,)) if isinstance(each, Tensor))


def _crosses(args: Sequence[Any], found: Any) -> bool:
    """Return whether a copy's source and result lie on different sides."""
    kinds = {tensor.device.type for tensor in (*_tensors(args), *_tensors(found))}
    return "cpu" in kinds and len(kinds) > 1


def _place() -> str:
    """Return file and line of the innermost code that is neither torch's nor this file's."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith((TORCH, __file__)):
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return "torch"


class Places:
    """The addresses of tensors and of their gradients, which a graph has in its kernels.

    Holds the tensors, so that their memory is not given to others while a graph may read it.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = [*{id(tensor): tensor for tensor in tensors}.values()]
        self.trained = [tensor for tensor in self.tensors if tensor.requires_grad]

    def now(self) -> tuple[int, ...]:
        """Return the addresses; 0 for a gradient that is not there."""
        gradients = (tensor.grad for tensor in self.trained)
        return (
            *(tensor.data_ptr() for tensor in self.tensors),
            *(0 if gradient is None else gradient.data_ptr() for gradient in gradients),
        )

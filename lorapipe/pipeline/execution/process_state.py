"""Saves and restores a process's global state around a stage: RNG states, torch's global flags, the working folder.

So a stage gives the same bytes whichever stages ran before it in the same worker.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Undo = Callable[[], None]


@contextmanager
def restored() -> Iterator[None]:
    """Restore the process's global state on exit. Modules that are not imported yet have none to save."""
    undo = [_python(), *_numpy(), *_torch()]
    try:
        yield
    finally:
        for each in undo:
            each()


def _python() -> Undo:
    state, folder = random.getstate(), Path.cwd()

    def undo() -> None:
        random.setstate(state)
        with suppress(OSError):
            os.chdir(folder)

    return undo


def _numpy() -> list[Undo]:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return []
    state = numpy.random.get_state()
    return [lambda: numpy.random.set_state(state)]


def _torch() -> list[Undo]:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return []
    return [_torch_random(torch), *(_setting(read, write) for read, write in _torch_switches(torch))]


def _torch_random(torch: Any) -> Undo:
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None

    def undo() -> None:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    return undo


def _setting(read: Callable[[], Any], write: Callable[[Any], Any]) -> Undo:
    before = read()
    return lambda: None if read() == before else write(before)


def _torch_switches(torch: Any) -> Iterator[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Yield a getter and a setter for each global flag of torch."""
    yield torch.is_grad_enabled, torch.set_grad_enabled
    yield torch.get_default_dtype, torch.set_default_dtype
    yield torch.get_num_threads, torch.set_num_threads
    yield torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    yield torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    for name in ("benchmark", "deterministic", "allow_tf32", "enabled"):
        yield _attribute(torch.backends.cudnn, name)
    yield _attribute(torch.backends.cuda.matmul, "allow_tf32")


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)

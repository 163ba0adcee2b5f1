"""Launch the processes of a data-parallel training: one child process for each device after the first."""

from __future__ import annotations

import multiprocessing.connection
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from lorapipe.errors import LorapipeError
from lorapipe.pipeline.context import Context, ModelCache
from lorapipe.pipeline.events import Log
from lorapipe.supervised_thread import SupervisedThread
from lorapipe.training.data_parallel import SINGLE, DataParallel, abort, process_group
from lorapipe.training.device import resolve

Work = Callable[[Context, DataParallel], None]
"""The work of a child process: a picklable function of its context and rank."""

READY = "ready"
POLL_SECONDS = 0.5
START_SECONDS = 600.0
"""How long a child process may take to start."""
NOTICE_SECONDS = 30.0
"""How long after a child's death pending collectives are aborted, if they have not failed by themselves."""
EXIT_SECONDS = 5.0
"""How long a process may take to report its error, and to exit."""


@dataclass(frozen=True)
class ProcessRank:
    """Rank, world size, device and rendezvous file of a child process, and its folders."""

    rank: int
    world_size: int
    device: str
    rendezvous: Path
    cache: Path
    resume: Path


class ChildProcess:
    """A child process and the pipe on which it reports that it is ready, or its error."""

    def __init__(self, work: Work, place: ProcessRank) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.device = place.device
        self._pipe, child_end = spawn.Pipe()
        self._process = spawn.Process(target=_main, args=(work, place, child_end), daemon=True)
        self._process.start()
        child_end.close()

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended before its work was done."""
        return self._process.exitcode not in (None, 0)

    def is_ready(self, seconds: float) -> bool:
        """Return whether it becomes ready within this time. Raises its error if it has failed."""
        if multiprocessing.connection.wait([self._pipe, self._process.sentinel], seconds):
            message = self._receive()
            if message != READY:
                raise self._error(message)
            return True
        return False

    def failure(self) -> Exception | None:
        """Return its error if it has failed, else None."""
        message = self._receive() if self._pipe.poll(EXIT_SECONDS) else ""
        return self._error(message) if message or self.is_dead else None

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join(EXIT_SECONDS)

    def _receive(self) -> str:
        try:
            return str(self._pipe.recv())
        except (EOFError, OSError):
            self._process.join(EXIT_SECONDS)
            return ""

    def _error(self, message: str) -> Exception:
        if message:
            return RuntimeError(f"the process on {self.device} failed: {message}")
        status = self._process.exitcode
        how = "was killed" if status in (-9, -15) else f"ended unexpectedly (status {status})"
        return LorapipeError(f"the process on {self.device} {how}.", cure="The usual cause is lack of memory.")


@contextmanager
def launched(work: Work, context: Context, joined: DataParallel | None = None) -> Iterator[DataParallel]:
    """Form the process group of a training on `cuda:0+cuda:1`, with this process as rank 0; `SINGLE` for one device.

    The child processes run `work` and are killed on exit; if one dies before, collectives that wait for it fail. In a child
    process, pass its group as `joined`, which is returned.
    """
    devices = context.device.split("+")
    if joined is not None or len(devices) == 1:
        yield joined or SINGLE
        return
    context.emit(Log(text=f"Training on {len(devices)} devices, each batch split among them: {', '.join(devices)}."))
    folder = Path(tempfile.mkdtemp(prefix="lorapipe-ddp-"))
    rendezvous = folder / "rendezvous"
    children: list[ChildProcess] = []
    try:
        for rank, device in enumerate(devices[1:], start=1):
            place = ProcessRank(rank, len(devices), device, rendezvous, context.cache, context.resume)
            children.append(ChildProcess(work, place))
        _await(children, context)
        group = process_group(0, len(devices), resolve(context.device), rendezvous)
        with group as parallel, _watched(children):
            yield parallel
    except RuntimeError as error:
        for child in children:
            if failure := child.failure():
                raise failure from error
        raise
    finally:
        for child in children:
            child.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _await(children: Sequence[ChildProcess], context: Context) -> None:
    """Wait until all children are ready to join the group. Starting takes seconds, more on a busy machine."""
    for child in children:
        deadline = time.monotonic() + START_SECONDS
        while not child.is_ready(POLL_SECONDS):
            context.check()
            if time.monotonic() > deadline:
                what = f"the process on {child.device} has not started within {START_SECONDS / 60:g} minutes."
                raise LorapipeError(what, cure="Is the device in use, or the machine short of memory?")


@contextmanager
def _watched(children: Sequence[ChildProcess]) -> Iterator[None]:
    """Abort collectives that still wait for a dead child after `NOTICE_SECONDS`."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            if any(child.is_dead for child in children):
                if not over.wait(NOTICE_SECONDS):
                    abort()
                return

    SupervisedThread("ddp", watch).start()
    try:
        yield
    finally:
        over.set()


def _main(work: Work, place: ProcessRank, pipe: Connection) -> None:
    """Run a child process."""
    SupervisedThread("first", lambda: _exit_with_first(pipe)).start()
    out = place.rendezvous.parent / f"rank-{place.rank}"
    out.mkdir()
    context = Context(
        out, place.resume, place.cache, lambda event: None, lambda: False, place.device, ModelCache.of_worker()
    )
    try:
        pipe.send(READY)
        with process_group(place.rank, place.world_size, place.device, place.rendezvous) as parallel:
            work(context, parallel)
    except Exception as error:  # rank 0 reports any error
        pipe.send(f"{error}" or type(error).__name__)
        raise


def _exit_with_first(pipe: Connection) -> None:
    """Exit when rank 0 exits, killed or not: that closes its end of the pipe."""
    try:
        pipe.recv()
    finally:
        os._exit(1)

"""Workers, which run jobs one at a time and report events, and the pool of them that a run uses.

A worker knows no pipeline and no ledger: it gets a job, emits events, and ends each job with one outcome. Its launcher
decides where it runs (this machine, a cluster), see `lorapipe.pipeline.execution.launchers`.
"""

from __future__ import annotations

import io
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorapipe.errors import LorapipeError
from lorapipe.pipeline.events import Event, Failed, Log, Metric, Preview, Progress, Started, from_json, to_json
from lorapipe.pipeline.execution.job import Done, Job

Message = Event | Done
"""A message of a worker: an event, or the outcome of a job: `Done` or `Failed`, always the last."""
WORKER_MESSAGES = (Started, Progress, Metric, Preview, Log, Failed, Done)
"""The types that a worker may send. Events of plans and reused results come from the run itself."""
Tell = Callable[[Message], None]
LONGEST_LINE = 16 << 20
"""In bytes. No valid message is that long; the limit keeps an endless line from filling the memory."""


def to_line(message: Message) -> str:
    """Serialize a message to a line of JSON."""
    return json.dumps({"artifact": message.artifact}) if isinstance(message, Done) else to_json(message)


class Unreadable(LorapipeError):
    """A worker sent a line that is not a valid message."""


def from_line(line: bytes) -> Message:
    """Parse a line of `to_line`. Raises `Unreadable` for anything else."""
    try:
        message = _message(line.decode("utf-8"))
    except (ValueError, KeyError, TypeError, RecursionError):
        message = None
    if not isinstance(message, WORKER_MESSAGES):
        raise Unreadable(f"the worker sent an invalid message: {ascii(line[:80])[1:]}")
    return message


def _message(line: str) -> object:
    if not line.startswith('{"artifact"'):
        return from_json(line)
    artifact = json.loads(line)["artifact"]
    return Done(artifact) if isinstance(artifact, dict) else None


class Lines:
    """Splits a stream that comes in chunks into lines; an incomplete line is kept until the next chunk."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0

    def of(self, piece: bytes) -> list[bytes]:
        """Return the lines that this chunk completes. Raises `Unreadable` if one exceeds `LONGEST_LINE`."""
        *whole, rest = piece.split(b"\n")
        if whole:
            whole[0] = b"".join([*self._begun, whole[0]])
            self._begun, self._size = [], 0
        self._begun.append(rest)
        self._size += len(rest)
        if max([self._size, *map(len, whole)]) > LONGEST_LINE:
            raise Unreadable(f"the worker sent a line of more than {LONGEST_LINE >> 20} MB")
        return whole


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Redirect this process's standard output and error, of Python and of C libraries, to a file."""
    before = [os.dup(standard) for standard in (1, 2)]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        _redirect([file, file])
        yield
    finally:
        _redirect(before)
        for each in (file, *before):
            os.close(each)


def _redirect(files: Sequence[int]) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for file, standard in zip(files, (1, 2), strict=True):
        os.dup2(file, standard)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


class Worker(ABC):
    """A runner of jobs, one at a time, that keeps the base model in memory between them.

    The scheduler polls `lost` while it waits for a worker's next message, so that it never waits for one that cannot come.
    """

    @abstractmethod
    def start(self, job: Job, tell: Tell) -> None:
        """Start the job and return. Another thread calls `tell` with each message, the last being `Done` or `Failed`."""

    @abstractmethod
    def lost(self) -> Failed | None:
        """Return the failure if no outcome can come any more, because the process or thread is gone; else None.

        All messages that were sent have been passed on before. Called often, so it must be quick.
        """

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Set the stop flag of the job. Returns at once, even if the worker does not respond."""

    @abstractmethod
    def close(self) -> None:
        """Kill the worker and its job within seconds; `start` starts a new one."""

    @property
    @abstractmethod
    def is_warm(self) -> bool:
        """Whether the worker is running, so that another job needs no start-up."""


@dataclass
class Slot:
    """A place for one job: on a device, or (`device` None) for stages without a device."""

    worker: Worker
    device: str | None = None
    shares_device: bool = False
    """Whether other projects on this machine use its device too, so that stages take turns (see `devices`)."""
    busy: bool = False


class Pool:
    """The slots of one or more runs. Workers stay warm from one run to the next."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._slots = tuple(slots)
        self._only_devices = all(slot.device is not None for slot in self._slots)

    def free(self, needs_device: bool, spare_devices: bool) -> Slot | None:
        """Return a free slot for a stage, a warm one if possible; None if there is none.

        Stages without a device have slots of their own. They also get a device's slot if its worker is warm and no stage
        will need it (`spare_devices`), or if there are no other slots.
        """

        def suits(slot: Slot) -> bool:
            if slot.busy or needs_device:
                return not slot.busy and slot.device is not None
            return slot.device is None or self._only_devices or (spare_devices and slot.worker.is_warm)

        return max(filter(suits, self._slots), key=lambda slot: slot.worker.is_warm, default=None)

    def close(self) -> None:
        """End every worker."""
        for slot in self._slots:
            slot.worker.close()

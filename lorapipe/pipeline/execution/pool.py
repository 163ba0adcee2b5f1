"""Workers, which run jobs one at a time and report events, and the pool of them that a run uses.

A worker knows no pipeline and no ledger: it gets a job, tells events, and ends each job with one outcome. Where it lives
(this machine, a cluster) is its launcher's affair, see `lorapipe.pipeline.execution.launchers`.
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
"""What a worker tells: events, and as the last one of a job `Done` or `Failed`."""
TOLD = (Started, Progress, Metric, Preview, Log, Failed, Done)
"""The kinds of message that are a worker's to tell; of plans and results the run itself tells."""
Tell = Callable[[Message], None]
LONGEST_LINE = 16 << 20
"""In bytes. No message is that long; what never ends must not fill the memory."""


def to_line(message: Message) -> str:
    """A message as a line of JSON."""
    return json.dumps({"artifact": message.artifact}) if isinstance(message, Done) else to_json(message)


class Unreadable(LorapipeError):
    """A worker has told what is no message."""


def from_line(line: bytes) -> Message:
    """The message of `to_line`'s line. Raises `Unreadable`, whatever is wrong with it."""
    try:
        message = _message(line.decode("utf-8"))
    except (ValueError, KeyError, TypeError, RecursionError):
        message = None
    if not isinstance(message, TOLD):
        raise Unreadable(f"the worker has told what is no message: {ascii(line[:80])[1:]}")
    return message


def _message(line: str) -> object:
    if not line.startswith('{"artifact"'):
        return from_json(line)
    artifact = json.loads(line)["artifact"]
    return Done(artifact) if isinstance(artifact, dict) else None


class Lines:
    """The whole lines in what comes in pieces. What follows the last of them is kept for the next piece."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0

    def of(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now. Raises `Unreadable` where one is longer than any message."""
        *whole, rest = piece.split(b"\n")
        if whole:
            whole[0] = b"".join([*self._begun, whole[0]])
            self._begun, self._size = [], 0
        self._begun.append(rest)
        self._size += len(rest)
        if max([self._size, *map(len, whole)]) > LONGEST_LINE:
            raise Unreadable(f"the worker has told a line of more than {LONGEST_LINE >> 20} MB")
        return whole


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Send what this process prints, from Python or from C, to a file."""
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
    """Something that runs jobs, one at a time, and keeps what is expensive (the base model) between them.

    Nobody waits for a worker's next message without asking it, again and again, whether one can still come: `lost`.
    """

    @abstractmethod
    def start(self, job: Job, tell: Tell) -> None:
        """Begin the job and return; `tell` is called from another thread, at last with `Done` or `Failed`."""

    @abstractmethod
    def lost(self) -> Failed | None:
        """Why no outcome of the job will be told any more: whoever would tell it is gone. None while it may come.

        All that was told is told before. Quick, and asked often: a worker that is silent may be at work, one that has
        ended never is.
        """

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Raise the stop flag of the job. Returns at once, also where the worker does not listen."""

    @abstractmethod
    def close(self) -> None:
        """End the worker now, and the job with it, within seconds whatever it does; `start` begins a new one."""

    @property
    @abstractmethod
    def is_warm(self) -> bool:
        """Whether it has started already, so that another job costs no start."""


@dataclass
class Slot:
    """Room for one job: on a device, or (`device` None) for stages that need none."""

    worker: Worker
    device: str | None = None
    shares_device: bool = False
    """Whether other projects on this machine use its device too, so that stages take turns (see `devices`)."""
    busy: bool = False


class Pool:
    """The slots of one or several runs; their workers stay warm in between."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._slots = tuple(slots)
        self._only_devices = all(slot.device is not None for slot in self._slots)

    def free(self, needs_device: bool, spare_devices: bool) -> Slot | None:
        """A slot for a stage, a warm one if there is one.

        What needs no device has slots of its own. It takes a device's worker too if that is warm and, as
        `spare_devices` says, nobody is going to wait for it; or where there are no others.
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

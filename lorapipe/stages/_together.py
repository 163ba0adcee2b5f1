"""One training on several devices: a further process for each device after the first."""

from __future__ import annotations

import dataclasses
import multiprocessing.connection
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import LorapipeError
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.supervised_thread import SupervisedThread

if TYPE_CHECKING:
    from lorapipe.stages.train import Train
    from lorapipe.training.data_parallel import DataParallel

READY = "ready"
LOOK_SECONDS = 0.5
START_SECONDS = 600.0
"""How long a further process may take to be ready to meet; it is looked at all the while."""
NOTICE_SECONDS = 30.0
"""How long it may take until the death of one is noticed where it is waited for."""
LAST_WORDS_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Place:
    """A further process: which of how many, on which device, and where all of them meet."""

    number: int
    size: int
    device: str
    meeting: Path
    cache: Path
    resume: Path


class Member:
    """A further process, and the pipe to it: it tells when it is ready to meet, or what has gone wrong."""

    def __init__(self, train: Train, place: Place) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.device = place.device
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_member, args=(train, place, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def is_dead(self) -> bool:
        """Whether it has ended, and not because its work was done."""
        return self._process.exitcode not in (None, 0)

    def is_ready(self, seconds: float) -> bool:
        """Whether it says so within this time. Raises with what has happened to it instead."""
        if multiprocessing.connection.wait([self._pipe, self._process.sentinel], seconds):
            told = self._told()
            if told != READY:
                raise self._failure(told)
            return True
        return False

    def failure(self) -> Exception | None:
        """What has gone wrong in it, if that was the first thing to go wrong."""
        told = self._told() if self._pipe.poll(LAST_WORDS_SECONDS) else ""
        return self._failure(told) if told or self.is_dead else None

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join(LAST_WORDS_SECONDS)

    def _told(self) -> str:
        try:
            return str(self._pipe.recv())
        except (EOFError, OSError):
            self._process.join(LAST_WORDS_SECONDS)
            return ""

    def _failure(self, told: str) -> Exception:
        if told:
            return RuntimeError(f"the process on {self.device} failed: {told}")
        status = self._process.exitcode
        how = "was killed" if status in (-9, -15) else f"ended unexpectedly (status {status})"
        return LorapipeError(f"the process on {self.device} {how}.", cure="Most often that is for lack of memory.")


@contextmanager
def team_for(train: Train, context: Context) -> Iterator[DataParallel]:
    """The team of a training on `cuda:0+cuda:1`, this process being the first; it is alone on `cuda:0`.

    The others end with it, however it ends. Where one of them ends before, so does the training: nobody is waited for who
    cannot come.
    """
    from lorapipe.training.data_parallel import SINGLE, process_group
    from lorapipe.training.device import resolve

    devices = context.device.split("+")
    if len(devices) == 1:
        yield SINGLE
        return
    context.emit(Log(text=f"Training on {len(devices)} devices, which share each batch: {', '.join(devices)}."))
    folder = Path(tempfile.mkdtemp(prefix="lorapipe-team-"))
    members: list[Member] = []
    try:
        for number, device in enumerate(devices[1:], start=1):
            place = Place(number, len(devices), device, folder / "meeting", context.cache, context.resume)
            members.append(Member(train, place))
        _await(members, context)
        with process_group(0, len(devices), resolve(context.device), folder / "meeting") as team, _watched(members):
            yield team
    except RuntimeError as error:
        for member in members:
            if failure := member.failure():
                raise failure from error
        raise
    finally:
        for member in members:
            member.end()
        shutil.rmtree(folder, ignore_errors=True)


def _await(members: Sequence[Member], context: Context) -> None:
    """Wait until all are ready to meet. Starting takes some seconds, more on a busy machine; dying takes none."""
    for member in members:
        deadline = time.monotonic() + START_SECONDS
        while not member.is_ready(LOOK_SECONDS):
            context.check()
            if time.monotonic() > deadline:
                what = f"the process on {member.device} has not started within {START_SECONDS / 60:g} minutes."
                raise LorapipeError(what, cure="Is the device in use, or the machine short of memory?")


@contextmanager
def _watched(members: Sequence[Member]) -> Iterator[None]:
    """While in it, a member's death ends what waits for it: most often by itself, otherwise after a while."""
    from lorapipe.training.data_parallel import abort

    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if any(member.is_dead for member in members):
                if not over.wait(NOTICE_SECONDS):
                    abort()
                return

    SupervisedThread("team", watch).start()
    try:
        yield
    finally:
        over.set()


def _member(train: Train, place: Place, pipe: Connection) -> None:
    """What a further process does: its share of every step. The first one keeps the books."""
    from lorapipe.training.data_parallel import process_group

    SupervisedThread("first", lambda: _end_with(pipe)).start()
    out = place.meeting.parent / f"member-{place.number}"
    out.mkdir()
    context = Context(out, place.resume, place.cache, lambda event: None, lambda: False, place.device)
    try:
        pipe.send(READY)
        with process_group(place.number, place.size, place.device, place.meeting) as team:
            for _ in train.share_of(context, team):
                pass
    except Exception as error:  # whatever it is, the first process tells it
        pipe.send(f"{error}" or type(error).__name__)
        raise


def _end_with(pipe: Connection) -> None:
    """End when the first process does, killed or not: its end of the pipe is closed then."""
    try:
        pipe.recv()
    finally:
        os._exit(1)

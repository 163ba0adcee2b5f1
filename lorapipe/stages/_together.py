"""One training on several devices: a further process for each device after the first."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log

if TYPE_CHECKING:
    from lorapipe.stages.train import Train
    from lorapipe.training.team import Team


@dataclasses.dataclass(frozen=True)
class Place:
    """A further process: which of how many, on which device, and where all of them meet."""

    number: int
    size: int
    device: str
    meeting: Path
    cache: Path
    resume: Path


@contextmanager
def team_for(train: Train, context: Context) -> Iterator[Team]:
    """The team of a training on `cuda:0+cuda:1`, this process being the first; it is alone on `cuda:0`.

    The others end with it, however it ends.
    """
    from lorapipe.training.device import resolve
    from lorapipe.training.team import ALONE, joined

    devices = context.device.split("+")
    if len(devices) == 1:
        yield ALONE
        return
    context.emit(Log(text=f"Training on {len(devices)} devices, which share each batch: {', '.join(devices)}."))
    folder = Path(tempfile.mkdtemp(prefix="lorapipe-team-"))
    started: list[tuple[str, BaseProcess, Connection]] = []
    try:
        for number, device in enumerate(devices[1:], start=1):
            place = Place(number, len(devices), device, folder / "meeting", context.cache, context.resume)
            started.append((device, *_start(train, place)))
        with joined(0, len(devices), resolve(context.device), folder / "meeting") as team:
            yield team
    except RuntimeError as error:
        for device, _, pipe in started:
            if told := _last_words(pipe):
                raise RuntimeError(f"the process on {device} failed: {told}") from error
        raise
    finally:
        for _, process, _ in started:
            process.kill()
            process.join()
        shutil.rmtree(folder, ignore_errors=True)


def _start(train: Train, place: Place) -> tuple[BaseProcess, Connection]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_member, args=(train, place, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _last_words(pipe: Connection) -> str:
    try:
        return str(pipe.recv()) if pipe.poll(5) else ""
    except (EOFError, OSError):
        return ""


def _member(train: Train, place: Place, pipe: Connection) -> None:
    """What a further process does: its share of every step. The first one keeps the books."""
    from lorapipe.training.team import joined

    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    out = place.meeting.parent / f"member-{place.number}"
    out.mkdir()
    context = Context(out, place.resume, place.cache, lambda event: None, lambda: False, place.device)
    try:
        with joined(place.number, place.size, place.device, place.meeting) as team:
            for _ in train.share_of(context, team):
                pass
    except Exception as error:  # whatever it is, the first process tells it
        pipe.send(f"{error}" or type(error).__name__)
        raise


def _end_with(pipe: Connection) -> None:
    """End when the first process does, killed or not: its end of the pipe is closed then."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(1)

"""A job: one stage to run, as plain data; and its outcome: the artifact, or the class of its failure."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from lorapipe.errors import InputError, Interrupted, LorapipeError, OutOfMemory, Unanswered
from lorapipe.pipeline.events import Failed
from lorapipe.pipeline.publication import LOG


class Job(NamedTuple):
    """The input of a worker. `spec` still has its references; `inputs` are the artifacts they stand for.

    Paths are absolute. The worker itself holds `lock` while the stage runs, so that it stays locked if the driver dies. It
    also holds the device's locks if the stage `takes_turns` with stages of other projects (see `devices`).
    """

    name: str
    key: str
    spec: Mapping[str, object]
    inputs: Mapping[str, Mapping[str, object]]
    attempt: str
    store: str
    cache: str
    lock: str
    device: str
    takes_turns: bool = False

    @property
    def log(self) -> Path:
        """The file that gets the stage's standard output and error."""
        return Path(self.attempt) / LOG

    def to_dict(self) -> dict[str, object]:
        """Return the job as JSON types."""
        return self._asdict()


class Done(NamedTuple):
    """The outcome of a job that succeeded: its artifact as JSON."""

    artifact: dict[str, object]


def failure(name: str, error: BaseException) -> Failed:
    """Return an error as a `Failed` event: the class of the failure, a message and a hint."""
    cause, message, hint = _classify(error)
    return Failed(name, cause, message, hint)


Cause = Literal["oom", "error", "timeout", "lost", "cancelled", "input", "waiting"]


def _classify(error: BaseException) -> tuple[Cause, str, str]:
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        return "cancelled", "stopped", ""
    if isinstance(error, Unanswered):
        return "waiting", str(error), str(error.answer)
    if isinstance(error, InputError):
        return "input", str(error), ""
    if isinstance(error, LorapipeError):
        return "oom" if isinstance(error, OutOfMemory) else "error", str(error), ""
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "out of memory" in str(error).lower():
        return "oom", _first_line(error), "There was not enough memory: use a smaller batch or smaller pictures."
    return "error", *_unforeseen(error)


def _unforeseen(error: BaseException) -> tuple[str, str]:
    """Return the message and the hint of an error that no stage has foreseen."""
    if isinstance(error, OSError) and error.strerror:
        full = error.errno == errno.ENOSPC
        hint = "Make room and run the same command again." if full else ""
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}", hint
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("lorapipe"):
        package = error.name.partition(".")[0]
        hint = f'Install it there: "{sys.executable}" -m pip install {package}'
        return f"{package} is not installed in the Python that runs this stage.", hint
    return f"{type(error).__name__}: {_first_line(error)}", "This is a bug in the stage, or a broken file."


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__

"""A job on another machine that shares a folder with this one: what it is told and what it tells are files.

    work/<key>.<n>.job/   job.json       what to do
                          events.jsonl   what it tells, its outcome last
                          stop           there when it is to stop
                          driver         a count that rises while the run that wants the result is alive

Only files are shared, so any way of starting `perform_in` elsewhere is a launcher: see `SharedFolderWorker`. It is given a
stage; the run that was started here publishes the result. Each job has a folder of its own, so that one that was given up
and lives on somewhere tells nobody anything.
"""

from __future__ import annotations

import json
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import LorapipeError
from lorapipe.pipeline.context import ModelCache
from lorapipe.pipeline.events import Failed
from lorapipe.pipeline.execution.job import Done, Job
from lorapipe.pipeline.execution.pool import LONGEST_LINE, Lines, Message, Tell, Worker, from_line, logged_to, to_line
from lorapipe.pipeline.execution.stage_execution import perform
from lorapipe.pipeline.ledger import remove
from lorapipe.supervised_thread import SupervisedThread, in_words, within

POLL_SECONDS = 0.2
BEAT_SECONDS = 5.0
ABANDONED_SECONDS = 120.0
"""A job whose driver has shown no sign for so long saves what it needs and ends."""
AWAY_SECONDS = ABANDONED_SECONDS
"""How long the shared folder, or the cluster's own client, may give nothing but errors."""
SILENT_SECONDS = 600.0
"""How long a call of the cluster's client, or of the shared disk, may not return at all."""
SETTLE_SECONDS = 5.0
"""How long the last lines of a job that has ended may take to arrive over the network."""
KILL_SECONDS = 30.0
"""How long the cluster's client may take to end a job."""
REMOVE_SECONDS = 2.0
"""How long what still writes into a job's folder is waited for, when that is removed."""


class SharedFolderWorker(Worker):
    """A worker whose jobs run elsewhere. Subclasses say how to launch one, whether it is alive, and how to kill it."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._follower: SupervisedThread | None = None
        self._jobs = 0
        self._looked = 0.0

    @abstractmethod
    def launch(self, folder: Path) -> None:
        """Have `perform_in(folder)` called on some machine; return at once."""

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether what was launched is waiting or running."""

    @abstractmethod
    def kill(self) -> None:
        """End what was launched, at once; nothing where it has ended."""

    def start(self, job: Job, tell: Tell) -> None:
        attempt = Path(job.attempt)
        for old in attempt.parent.glob(f"{attempt.name}.*.job"):
            _remove(old)
        self._jobs += 1
        self._folder = folder = Path(f"{attempt}.{os.getpid()}-{id(self):x}-{self._jobs}.job")
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
        self._looked = time.monotonic()
        self._follower = SupervisedThread(job.name, lambda: self._follow(folder, tell), job.log)
        self._follower.start()

    def lost(self) -> Failed | None:
        if self._follower is None:
            return None
        if not self._follower.is_alive():
            return Failed(cause="lost", message=self._follower.reason or "nobody follows the job any more")
        if time.monotonic() - self._looked > SILENT_SECONDS:
            what = f"neither the cluster nor the shared folder has answered for {SILENT_SECONDS / 60:g} minutes"
            return Failed(cause="lost", message=what)
        return None

    def ask_to_stop(self) -> None:
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / "stop").touch()

    def close(self) -> None:
        folder, self._folder, self._follower = self._folder, None, None
        within(KILL_SECONDS, self.kill, "kill")
        if folder is not None:
            within(KILL_SECONDS, lambda: _remove(folder), "remove")

    def _follow(self, folder: Path, tell: Tell) -> str | None:
        """Launch the job and pass on its lines until its outcome; why there is none, where that is so."""
        try:
            self.launch(folder)
        except Exception as error:  # whatever a cluster's client raises
            return f"could not be started: {in_words(error)}"
        lines, beat = _NewLines(folder / "events.jsonl"), _Beat(folder / "driver")
        gone_since, fine_at = None, time.monotonic()
        while self._folder == folder:
            self._looked = now = time.monotonic()
            for line in lines.new():
                message = from_line(line)
                if isinstance(message, (Done, Failed)):
                    self._folder = None
                    _remove(folder)
                    tell(message)
                    return None
                tell(message)
            if gone_since is not None and now - gone_since > SETTLE_SECONDS:
                return "the job ended without an answer"
            try:
                beat.tell()
                if not self.is_alive():
                    gone_since = gone_since or now
                fine_at = now
            except Exception as error:  # a share that is away for a while, a client that does not reach its cluster
                if _is_removed(folder):
                    return f"its folder was removed: {folder}"
                if now - fine_at > AWAY_SECONDS:
                    return f"nothing can be known of the job any more: {in_words(error)}"
            time.sleep(POLL_SECONDS)
        return None


class _Beat:
    """The sign that the driver is alive."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._count, self._told_at = 0, 0.0

    def tell(self) -> None:
        """Write it, when it is time."""
        if time.monotonic() - self._told_at > BEAT_SECONDS:
            self._count += 1
            self._file.write_text(str(self._count), encoding="utf-8")
            self._told_at = time.monotonic()


class _NewLines:
    """The whole lines that are added to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._lines = Lines()

    def new(self) -> list[bytes]:
        """Those since the last call."""
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                data = file.read(LONGEST_LINE)
        except OSError:
            return []
        self._read += len(data)
        return self._lines.of(data)


def _is_removed(folder: Path) -> bool:
    """Whether somebody has removed it; not, where the disk that it lies on is away."""
    try:
        return folder.name not in os.listdir(folder.parent)  # noqa: PTH208 (asked of the disk, not of what is remembered)
    except OSError:
        return False


def _remove(folder: Path) -> None:
    """Remove a job's folder, into which a cluster's client may be writing its last words. What stays is for `gc`."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while folder.is_dir():
        with suppress(OSError):
            remove(folder)
            return
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_SECONDS / 4)


# ------------------------------------------------------------------------------------------------ on the other machine


def perform_in(folder: str, model_cache: ModelCache | None = None) -> None:
    """Run the job of a folder; called on the machine that the launcher found."""
    place = Path(folder)
    events = _Events(place / "events.jsonl")
    try:
        job = _read_job(place / "job.json")
        Path(job.attempt).mkdir(parents=True, exist_ok=True)
        with logged_to(job.log):
            outcome = perform(job, events.tell, _stopping(place), model_cache or ModelCache())
    except (LorapipeError, OSError) as error:
        outcome = Failed(cause="error", message=in_words(error))
    events.tell_outcome(outcome)


def _read_job(file: Path) -> Job:
    try:
        return Job(**json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        cure = "The driver's lorapipe and that of this machine may be of different versions."
        raise LorapipeError(f"is no job ({in_words(error)}).", where=str(file), cure=cure) from None


class _Events:
    """Tells the driver, through a file. While that cannot be written, what is to be told is kept."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._waiting = b""

    def tell(self, message: Message) -> None:
        """Write a message, now or later."""
        with self._lock:
            if len(self._waiting) < LONGEST_LINE:
                self._waiting += to_line(message).encode("utf-8", "backslashreplace") + b"\n"
            with suppress(OSError):
                self._write()

    def tell_outcome(self, outcome: Done | Failed) -> None:
        """Write the last message, as soon as that can be done. Raises where the share stays away."""
        with self._lock:
            self._waiting += to_line(outcome).encode("utf-8", "backslashreplace") + b"\n"
            deadline = time.monotonic() + ABANDONED_SECONDS
            while True:
                try:
                    return self._write()
                except OSError:
                    if time.monotonic() > deadline or _is_removed(self._file.parent):
                        raise
                time.sleep(POLL_SECONDS)

    def _write(self) -> None:
        with self._file.open("ab", buffering=0) as file:
            while self._waiting:
                self._waiting = self._waiting[file.write(self._waiting) :]


def _stopping(folder: Path) -> Callable[[], bool]:
    """Whether the job is to stop: it was asked to, nobody has wanted it for a while, or its folder was removed."""
    looked, seen, seen_at, stop = 0.0, "", time.monotonic(), False

    def stopping() -> bool:
        nonlocal looked, seen, seen_at, stop
        now = time.monotonic()
        if stop or now - looked < POLL_SECONDS:
            return stop
        looked = now
        try:
            beat = (folder / "driver").read_text("utf-8")
            if beat != seen:
                seen, seen_at = beat, now
        except (OSError, ValueError):
            stop = _is_removed(folder)
        stop = stop or (folder / "stop").exists() or now - seen_at > ABANDONED_SECONDS
        return stop

    return stopping

"""A job on another machine that shares a folder with this one. All messages are files.

    work/<key>.<n>.job/   job.json       the job
                          events.jsonl   its events, the outcome last
                          stop           exists once the job is asked to stop
                          driver         heartbeat: a counter that the driver increments while it is alive

Only files are shared, so any way of starting `perform_in` elsewhere makes a launcher: see `SharedFolderWorker`. The job
runs the stage; the driver publishes the result. Each job has a folder of its own, so that an abandoned job that is still
running somewhere cannot send messages to its successor.
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
HEARTBEAT_SECONDS = 5.0
HEARTBEAT_TIMEOUT_SECONDS = 120.0
"""After this time without a heartbeat of the driver, a job saves its state and ends."""
ERROR_SECONDS = HEARTBEAT_TIMEOUT_SECONDS
"""How long the shared folder, or the cluster's client, may return errors before the job counts as lost."""
BLOCKED_SECONDS = 600.0
"""How long a call of the cluster's client, or of the shared disk, may block before the job counts as lost."""
SETTLE_SECONDS = 5.0
"""How long after a job's end its last lines may arrive over the network."""
KILL_SECONDS = 30.0
"""How long the cluster's client may take to kill a job."""
REMOVE_SECONDS = 2.0
"""How long the removal of a job's folder is tried again while something still writes into it."""


class SharedFolderWorker(Worker):
    """A worker whose jobs run on another machine. Subclasses launch a job, check that it is alive, and kill it."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._follower: SupervisedThread | None = None
        self._jobs = 0
        self._looked = 0.0

    @abstractmethod
    def launch(self, folder: Path) -> None:
        """Have `perform_in(folder)` called on another machine; return at once."""

    @abstractmethod
    def is_alive(self) -> bool:
        """Return whether the launched job is waiting or running."""

    @abstractmethod
    def kill(self) -> None:
        """Kill the launched job at once; do nothing if it has ended."""

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
            return Failed(cause="lost", message=self._follower.reason or "the thread that follows the job has ended")
        if time.monotonic() - self._looked > BLOCKED_SECONDS:
            what = f"neither the cluster nor the shared folder has answered for {BLOCKED_SECONDS / 60:g} minutes"
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
        """Launch the job and pass on its messages up to the outcome. Returns the reason if it ends without one."""
        try:
            self.launch(folder)
        except Exception as error:  # any error of a cluster's client
            return f"could not be started: {in_words(error)}"
        lines, heartbeat = _NewLines(folder / "events.jsonl"), _Heartbeat(folder / "driver")
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
                heartbeat.write_if_due()
                if not self.is_alive():
                    gone_since = gone_since or now
                fine_at = now
            except Exception as error:  # the share is unavailable for a while, or the client cannot reach its cluster
                if _is_removed(folder):
                    return f"its folder was removed: {folder}"
                if now - fine_at > ERROR_SECONDS:
                    return f"the job's state cannot be read any more: {in_words(error)}"
            time.sleep(POLL_SECONDS)
        return None


class _Heartbeat:
    """The driver's heartbeat file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._count, self._written_at = 0, 0.0

    def write_if_due(self) -> None:
        """Increment the counter in the file when it is due."""
        if time.monotonic() - self._written_at > HEARTBEAT_SECONDS:
            self._count += 1
            self._file.write_text(str(self._count), encoding="utf-8")
            self._written_at = time.monotonic()


class _NewLines:
    """Reads the complete lines that are appended to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._lines = Lines()

    def new(self) -> list[bytes]:
        """Return the lines since the last call."""
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                data = file.read(LONGEST_LINE)
        except OSError:
            return []
        self._read += len(data)
        return self._lines.of(data)


def _is_removed(folder: Path) -> bool:
    """Whether the folder was removed; False if its disk is unavailable."""
    try:
        return folder.name not in os.listdir(folder.parent)  # noqa: PTH208 (read from the disk, not from a cache)
    except OSError:
        return False


def _remove(folder: Path) -> None:
    """Remove a job's folder; a cluster's client may still be writing into it. `gc` removes the rest."""
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
    """Run the job in a folder. Called on the other machine."""
    place = Path(folder)
    events = _Events(place / "events.jsonl")
    try:
        job = _read_job(place / "job.json")
        Path(job.attempt).mkdir(parents=True, exist_ok=True)
        with logged_to(job.log):
            outcome = perform(job, events.write, _stopping(place), model_cache or ModelCache.of_worker())
    except (LorapipeError, OSError) as error:
        outcome = Failed(cause="error", message=in_words(error))
    events.write_outcome(outcome)


def _read_job(file: Path) -> Job:
    try:
        return Job(**json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        cure = "The driver's lorapipe and this machine's may have different versions."
        raise LorapipeError(f"is not a valid job ({in_words(error)}).", where=str(file), cure=cure) from None


class _Events:
    """Sends messages to the driver through a file. While the file cannot be written, messages are buffered."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._waiting = b""

    def write(self, message: Message) -> None:
        """Write a message, or buffer it if the file cannot be written now."""
        with self._lock:
            if len(self._waiting) < LONGEST_LINE:
                self._waiting += to_line(message).encode("utf-8", "backslashreplace") + b"\n"
            with suppress(OSError):
                self._write()

    def write_outcome(self, outcome: Done | Failed) -> None:
        """Write the last message, and wait for the share if necessary. Raises `OSError` if it stays unavailable."""
        with self._lock:
            self._waiting += to_line(outcome).encode("utf-8", "backslashreplace") + b"\n"
            deadline = time.monotonic() + HEARTBEAT_TIMEOUT_SECONDS
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
    """Return a function that says whether the job must stop: on request, without a driver, or without its folder."""
    looked, seen, seen_at, stop = 0.0, "", time.monotonic(), False

    def stopping() -> bool:
        nonlocal looked, seen, seen_at, stop
        now = time.monotonic()
        if stop or now - looked < POLL_SECONDS:
            return stop
        looked = now
        try:
            heartbeat = (folder / "driver").read_text("utf-8")
            if heartbeat != seen:
                seen, seen_at = heartbeat, now
        except (OSError, ValueError):
            stop = _is_removed(folder)
        stop = stop or (folder / "stop").exists() or now - seen_at > HEARTBEAT_TIMEOUT_SECONDS
        return stop

    return stopping

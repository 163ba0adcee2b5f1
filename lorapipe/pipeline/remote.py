"""A job on another machine that shares a folder with this one: what it is told and what it tells are files.

    work/<key>.job/   job.json       what to do
                      events.jsonl   what it tells, its outcome last
                      stop           there when it is to stop
                      driver         a count that rises while the run that wants the result is alive

Only files are shared, so any way of starting `perform_in` elsewhere is a launcher: see `Remote`. It is given a stage; the
run that was started here publishes the result.
"""

from __future__ import annotations

import json
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lorapipe.pipeline.context import Warm
from lorapipe.pipeline.events import Failed
from lorapipe.pipeline.job import Done, Job, perform
from lorapipe.pipeline.ledger import remove
from lorapipe.pipeline.workers import Message, Tell, Worker, from_line, logged_to, to_line

POLL_SECONDS = 0.2
BEAT_SECONDS = 5.0
ABANDONED_SECONDS = 120.0
"""A job whose driver has shown no sign for so long saves what it needs and ends."""
SETTLE_SECONDS = 5.0
"""How long the last lines of a job that has ended may take to arrive over the network."""


class Remote(Worker):
    """A worker whose jobs run elsewhere. Subclasses say how to launch one, whether it is alive, and how to kill it."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    @abstractmethod
    def launch(self, folder: Path) -> None:
        """See to it that `perform_in(folder)` is called on some machine; return at once."""

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether what was launched is waiting or running."""

    @abstractmethod
    def kill(self) -> None:
        """End what was launched, at once; nothing where it has ended."""

    def start(self, job: Job, tell: Tell) -> None:
        """See `Worker.start`."""
        self._folder = folder = Path(f"{job.attempt}.job")
        remove(folder)
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
        threading.Thread(target=self._follow, args=(folder, job.name, tell), daemon=True).start()

    def ask_to_stop(self) -> None:
        """See `Worker.ask_to_stop`."""
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / "stop").touch()

    def close(self) -> None:
        """See `Worker.close`."""
        self._folder = None
        self.kill()

    def _follow(self, folder: Path, name: str, tell: Tell) -> None:
        """Launch the job and pass on its lines until its outcome, or until it is gone without one."""
        try:
            self.launch(folder)
            outcome = self._outcome(folder, name, tell)
        except Exception as error:  # whatever a cluster's client raises
            outcome = Failed(name, "lost", f"could not be started: {type(error).__name__}: {error}")
        if outcome is not None and self._folder == folder:
            self._folder = None
            remove(folder)
            tell(outcome)

    def _outcome(self, folder: Path, name: str, tell: Tell) -> Done | Failed | None:
        lines, beats, beaten = _Lines(folder / "events.jsonl"), 0, 0.0
        gone_since: float | None = None
        while self._folder == folder:
            now = time.monotonic()
            if now - beaten > BEAT_SECONDS:
                beats, beaten = beats + 1, now
                (folder / "driver").write_text(str(beats), encoding="utf-8")
            for line in lines.new():
                message = from_line(line)
                if isinstance(message, (Done, Failed)):
                    return message
                tell(message)
            if gone_since is None and not self.is_alive():
                gone_since = now
            if gone_since is not None and now - gone_since > SETTLE_SECONDS:
                return Failed(name, "lost", "the job ended without an answer")
            time.sleep(POLL_SECONDS)
        return None


class _Lines:
    """The whole lines that are added to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0

    def new(self) -> list[str]:
        """Those since the last call."""
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode("utf-8").splitlines()


# ------------------------------------------------------------------------------------------------ on the other machine


def perform_in(folder: str, warm: Warm | None = None) -> None:
    """Run the job of a folder; called on the machine that the launcher found."""
    place = Path(folder)
    job = Job(**json.loads((place / "job.json").read_text("utf-8")))
    lock = threading.Lock()

    def tell(message: Message) -> None:
        with lock, (place / "events.jsonl").open("a", encoding="utf-8", newline="\n") as file:
            file.write(to_line(message) + "\n")

    Path(job.attempt).mkdir(parents=True, exist_ok=True)
    with logged_to(job.log):
        outcome = perform(job, tell, _stopping(place), warm or Warm())
    tell(outcome)


def _stopping(folder: Path) -> Callable[[], bool]:
    """Whether the job is to stop: it was asked to, or nobody has wanted it for a while."""
    looked, seen, seen_at, stop = 0.0, "", time.monotonic(), False

    def stopping() -> bool:
        nonlocal looked, seen, seen_at, stop
        now = time.monotonic()
        if stop or now - looked < POLL_SECONDS:
            return stop
        looked = now
        with suppress(OSError):
            beat = (folder / "driver").read_text("utf-8")
            if beat != seen:
                seen, seen_at = beat, now
        stop = (folder / "stop").exists() or now - seen_at > ABANDONED_SECONDS
        return stop

    return stopping

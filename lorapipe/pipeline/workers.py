"""A worker process owns one device and runs one job after another, its last base model kept warm between them.

The driver writes JSON lines to the worker's standard input (`{"job": …}`, `{"stop": true}`) and reads JSON lines, many
events and one outcome a job, from what was its standard output. Inside the worker, standard output and error are the
job's log, down to what C libraries print. The worker ignores Ctrl-C, which a terminal sends to everyone: stopping is
for the driver to decide. When its input ends, the driver has died: the worker stops its job and ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from lorapipe.pipeline.context import Warm
from lorapipe.pipeline.events import Event, Failed, from_json, to_json
from lorapipe.pipeline.job import Job, perform

GRACE_SECONDS = 120.0
"""How long a stage may take to save what it needs after it was asked to stop."""
KILL_SECONDS = 5.0
ORPHAN_SECONDS = 30.0
POLL_SECONDS = 0.1

Message = Event | dict[str, Any] | None
"""From a worker: an event, the artifact of the job, or its end."""


class Worker(ABC):
    """Something that runs jobs, one at a time."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def run(self, job: Job, stopping: Callable[[], int]) -> Generator[Event, None, dict[str, Any] | Failed]:
        """Yield what the job tells and return its artifact in JSON form, or how it failed.

        `stopping()` is 0 to go on, 1 to stop as soon as the stage has saved what it needs, 2 to stop now.
        """
        self._start(job)
        asked: float | None = None
        while True:
            level = stopping()
            if level and asked is None:
                asked = time.monotonic()
                self._ask_to_stop()
            if level > 1 or (asked is not None and time.monotonic() - asked > GRACE_SECONDS):
                self.close()
                return Failed(job.name, "cancelled", "stopped")
            try:
                message = self._messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(message, Failed) or not isinstance(message, Event):
                return self._lost(job) if message is None else message
            yield replace(message, stage=job.name)

    @abstractmethod
    def _start(self, job: Job) -> None:
        """Begin the job."""

    @abstractmethod
    def _ask_to_stop(self) -> None:
        """Raise the stop flag of the job."""

    @abstractmethod
    def _lost(self, job: Job) -> Failed:
        """What to say when the worker ended without an answer."""

    @abstractmethod
    def close(self) -> None:
        """End the worker, and the job with it."""


class Inline(Worker):
    """Runs jobs in this process, on a thread: for debuggers. A job that does not stop when asked cannot be ended."""

    def __init__(self) -> None:
        super().__init__()
        self._warm = Warm()
        self._stop = threading.Event()

    def _start(self, job: Job) -> None:
        self._stop.clear()

        def work() -> None:
            self._messages.put(perform(job, self._messages.put, self._stop.is_set, self._warm))

        threading.Thread(target=work, name=job.name, daemon=True).start()

    def _ask_to_stop(self) -> None:
        self._stop.set()

    def _lost(self, job: Job) -> Failed:
        return Failed(job.name, "lost", "the stage ended without an answer")

    def close(self) -> None:
        """See `Worker.close`."""
        self._stop.set()


class Process(Worker):
    """Runs jobs in a process of its own, started when there is a job and again when it was lost."""

    def __init__(self) -> None:
        super().__init__()
        self._process: subprocess.Popen[str] | None = None

    def _start(self, job: Job) -> None:
        if self._process is None or self._process.poll() is not None:
            self._messages = queue.SimpleQueue()
            self._process = _spawn()
            threading.Thread(target=_listen, args=(self._process.stdout, self._messages), daemon=True).start()
        self._send({"job": job.to_dict()})

    def _ask_to_stop(self) -> None:
        self._send({"stop": True})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(OSError):  # a worker that has ended is noticed by its silence
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _lost(self, job: Job) -> Failed:
        assert self._process is not None
        status = self._process.wait()
        if status == -9:
            hint = "Most often the operating system does that when memory runs out."
            return Failed(job.name, "lost", "the worker process was killed", hint)
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return Failed(job.name, "lost", f"the worker process ended unexpectedly ({how})", "")

    def close(self) -> None:
        """See `Worker.close`: first politely, then not."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
            try:
                process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
                process.wait()


KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc gives every large tensor back to the kernel and asks for it anew, page by page. On a CPU that can cost as much as
the training itself; other systems ignore these names."""


def _spawn() -> subprocess.Popen[str]:
    """A worker that sees the same packages as this process, in a process group of its own."""
    environment = {**KEEP_FREED_MEMORY, **os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
    own_group = {"creationflags": 0x00000200} if sys.platform == "win32" else {"start_new_session": True}
    return subprocess.Popen(
        [sys.executable, "-m", "lorapipe.pipeline.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=environment,
        **own_group,
    )


def _signal(process: subprocess.Popen[str], number: int) -> None:
    """To the worker and to what it has started."""
    with suppress(OSError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)


def _listen(stream: IO[str], messages: queue.SimpleQueue[Message]) -> None:
    """The worker's lines as messages; None at its end."""
    try:
        for line in stream:
            if line.startswith('{"artifact"'):
                messages.put(json.loads(line)["artifact"])
            else:
                messages.put(from_json(line))
    finally:
        messages.put(None)


# ------------------------------------------------------------------------------------------------- inside the worker


def main() -> None:
    """The worker's side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    _log_to(os.devnull)
    stop, jobs = threading.Event(), queue.SimpleQueue[Job | None]()
    threading.Thread(target=_read_driver, args=(sys.stdin, stop, jobs), daemon=True).start()
    lock, warm = threading.Lock(), Warm()

    def tell(event: Event) -> None:
        with lock, suppress(OSError):
            driver.write(to_json(event) + "\n")
            driver.flush()

    while (job := jobs.get()) is not None:
        _log_to(str(Path(job.attempt) / "log.txt"))
        outcome = perform(job, tell, stop.is_set, warm)
        _log_to(os.devnull)
        if isinstance(outcome, Failed):
            tell(outcome)
        else:
            with suppress(OSError):
                driver.write(json.dumps({"artifact": outcome}) + "\n")
                driver.flush()


def _log_to(path: str) -> None:
    """Send what this process prints, from Python or from C, to a file."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for standard in (1, 2):
        os.dup2(file, standard)
    os.close(file)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]


def _read_driver(stream: IO[str], stop: threading.Event, jobs: queue.SimpleQueue[Job | None]) -> None:
    for line in stream:
        message = json.loads(line)
        if "job" in message:
            stop.clear()
            jobs.put(Job(**message["job"]))
        else:
            stop.set()
    stop.set()
    jobs.put(None)
    time.sleep(ORPHAN_SECONDS)  # a daemon thread: it ends with the process, or ends a process that does not
    os._exit(1)


if __name__ == "__main__":
    main()

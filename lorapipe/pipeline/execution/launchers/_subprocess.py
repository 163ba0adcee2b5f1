"""Worker processes on this machine, and the base class of launchers that use some of them.

The driver writes JSON lines to the worker's standard input and reads JSON lines from its original standard output, see
`lorapipe.pipeline.execution.worker_main`.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lorapipe.pipeline.events import Failed
from lorapipe.pipeline.execution.job import Done, Job
from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.pipeline.execution.pool import Lines, Message, Slot, Tell, Worker, from_line
from lorapipe.spec import param
from lorapipe.supervised_thread import SupervisedThread, in_words

if TYPE_CHECKING:
    import subprocess

WORKER = (sys.executable, "-m", "lorapipe.pipeline.execution.worker_main")
KILL_SECONDS = 5.0
SETTLE_SECONDS = 2.0
"""How long after a process's end its last lines may arrive, and how long after its last line it may live."""
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Stops glibc from returning every large tensor to the kernel and requesting it again, page by page: on a CPU that can
cost as much as the training itself. Other systems ignore these variables."""


@dataclass(frozen=True)
class SideJobsLauncher(Launcher):
    """A launcher that runs stages without a device in processes on the driver's machine."""

    side_jobs: int = param(
        2, "how many stages that need no device may run on this machine at the same time", ge=1, le=64
    )

    def side_slots(self) -> list[Slot]:
        """Return the slots of stages without a device."""
        return [Slot(Process()) for _ in range(self.side_jobs)]


class Process(Worker):
    """Runs jobs in a process of its own, which starts with the first job, and again after it was lost."""

    def __init__(self, command: Sequence[str] = WORKER) -> None:
        self._command = command
        self._child: Child | None = None
        self._tell: Tell | None = None
        self._lock = threading.Lock()

    def start(self, job: Job, tell: Tell) -> None:
        if not self.is_warm:
            self.close()
        with self._lock:
            self._tell = tell
            if self._child is None:
                self._child = Child(self._command, self._on_message)
            self._child.submit(job)

    def lost(self) -> Failed | None:
        return None if self._child is None else self._child.lost()

    def ask_to_stop(self) -> None:
        if self._child is not None:
            self._child.send({"stop": True})

    @property
    def is_warm(self) -> bool:
        """Whether the process is running."""
        return self._child is not None and self._child.is_alive

    def close(self) -> None:
        """Send the process SIGTERM, then kill it."""
        with self._lock:
            child, self._child, self._tell = self._child, None, None
        if child is not None:
            child.end()

    def _on_message(self, child: Child, message: Message) -> None:
        """Pass a message on, unless it is from a process that was replaced or its job already has an outcome."""
        with self._lock:
            if child is not self._child:
                return
            tell = self._tell
            if isinstance(message, (Done, Failed)):
                self._tell = None
        if tell is not None:
            tell(message)


class Child:
    """A process of `worker_main`. One thread reads its messages and calls `on_message`; another writes messages to it.

    A pipe holds some 64 kB: without a thread of its own, a write to a process that does not read would block.
    """

    def __init__(self, command: Sequence[str], on_message: Callable[[Child, Message], None]) -> None:
        import subprocess  # here, as most runs start no process

        self._timeout_error = (
            subprocess.TimeoutExpired
        )  # kept: nothing can be imported while the interpreter shuts down
        self._process = _spawn(command)
        self._on_message = on_message
        self._outgoing = queue.SimpleQueue[bytes | None]()
        self._ended_at: float | None = None
        self._reader = SupervisedThread("worker's messages", self._read_messages)
        self._writer = SupervisedThread("worker's jobs", self._write)
        try:
            self._reader.start()
            self._writer.start()
        except BaseException:  # no more threads
            self.end()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the process can take another job."""
        return self._process.poll() is None and self._reader.is_alive() and self._writer.is_alive()

    def submit(self, job: Job) -> None:
        """Send the process a job."""
        self._reader.log = self._writer.log = job.log
        self.send({"job": job.to_dict()})

    def send(self, message: dict[str, object]) -> None:
        """Queue a message for the process."""
        self._outgoing.put(json.dumps(message).encode() + b"\n")

    def lost(self) -> Failed | None:
        """Check the process and the two threads; return the failure if no outcome can come."""
        status = self._process.poll()  # this also reaps a zombie
        ends = status is not None or not self._reader.is_alive()
        if not ends and self._writer.is_alive():
            return None
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        settled = time.monotonic() - self._ended_at > SETTLE_SECONDS
        if self._reader.reason:
            return Failed(cause="lost", message=self._reader.reason)
        if status is not None:  # its last lines may still come, or a child of it may hold its output open
            return _exit_failure(status) if settled or not self._reader.is_alive() else None
        if not settled:
            return None
        what = "tells nothing any more" if ends else f"takes no message: {self._writer.reason}"
        return Failed(cause="lost", message=f"the worker process {what}")

    def end(self) -> None:
        """Kill the process and its children. One that the system cannot kill (in disk wait) is left."""
        self._outgoing.put(None)
        if self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            if self._process.poll() is None:
                _signal(self._process, number)
                with suppress(self._timeout_error):
                    self._process.wait(KILL_SECONDS)
        _signal(self._process, getattr(signal, "SIGKILL", signal.SIGTERM))  # its children, also suspended ones

    def _read_messages(self) -> None:
        """Pass on the process's lines until end of file. An incomplete last line (of a killed process) is dropped."""
        stream, lines = self._process.stdout, Lines()
        assert stream is not None
        with stream:
            while piece := stream.read(1 << 16):
                for line in lines.of(piece):
                    self._on_message(self, from_line(line))

    def _write(self) -> str | None:
        stream = self._process.stdin
        assert stream is not None
        with stream:
            while (message := self._outgoing.get()) is not None:
                left = memoryview(message)
                try:
                    while left:
                        left = left[stream.write(left) :]
                except OSError as error:  # it closed its input, most often because it ended
                    return in_words(error)
        return None


def _exit_failure(status: int) -> Failed:
    if status == -9:
        hint = "Most often the operating system kills a process because memory ran out."
        return Failed(cause="lost", message="the worker process was killed", hint=hint)
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Failed(cause="lost", message=f"the worker process ended unexpectedly ({how})")


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a worker that sees the same packages as this process, in a process group of its own."""
    import subprocess  # here, as most runs start no process

    environment = {**KEEP_FREED_MEMORY, **os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=environment,
        **own_group,
    )


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the worker and its children."""
    with suppress(OSError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)

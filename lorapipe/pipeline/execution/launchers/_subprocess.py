"""Worker processes on this machine, and the launchers that have some of them beside the driver.

The driver writes JSON lines to the worker's standard input and reads JSON lines from what was its standard output, see
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
"""How long the last lines of a process that has ended may take, and the end of one whose lines have ended."""
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc gives every large tensor back to the kernel and asks for it anew, page by page. On a CPU that can cost as much as
the training itself; other systems ignore these names."""


@dataclass(frozen=True)
class Beside(Launcher):
    """A launcher that runs what needs no device in processes beside the driver."""

    side_jobs: int = param(
        2, "how many stages that need no device may run on this machine at the same time", ge=1, le=64
    )

    def side_slots(self) -> list[Slot]:
        """Room for those stages."""
        return [Slot(Process()) for _ in range(self.side_jobs)]


class Process(Worker):
    """Runs jobs in a process of its own, started when there is a job and again when it was lost."""

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
                self._child = Child(self._command, self._hear)
            self._child.take(job)

    def lost(self) -> Failed | None:
        return None if self._child is None else self._child.lost()

    def ask_to_stop(self) -> None:
        if self._child is not None:
            self._child.say({"stop": True})

    @property
    def is_warm(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.is_alive

    def close(self) -> None:
        """Ask the process to end, then kill it."""
        with self._lock:
            child, self._child, self._tell = self._child, None, None
        if child is not None:
            child.end()

    def _hear(self, child: Child, message: Message) -> None:
        """Pass a message on, unless the process is no longer ours or no job is waiting for an end."""
        with self._lock:
            if child is not self._child:
                return
            tell = self._tell
            if isinstance(message, (Done, Failed)):
                self._tell = None
        if tell is not None:
            tell(message)


class Child:
    """A process of `worker_main`. `hear` gets what it tells, on a thread; another one writes what it is told.

    A pipe holds some 64 kB: whoever writes more to a process that does not read would wait for it.
    """

    def __init__(self, command: Sequence[str], hear: Callable[[Child, Message], None]) -> None:
        import subprocess  # here, as most runs find all that they need

        self._too_late = subprocess.TimeoutExpired  # at the end of the program nothing can be imported any more
        self._process = _spawn(command)
        self._hear = hear
        self._to_say = queue.SimpleQueue[bytes | None]()
        self._ended_at: float | None = None
        self._listener = SupervisedThread("worker's messages", self._listen)
        self._writer = SupervisedThread("worker's jobs", self._write)
        try:
            self._listener.start()
            self._writer.start()
        except BaseException:  # no more threads
            self.end()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it can take another job."""
        return self._process.poll() is None and self._listener.is_alive() and self._writer.is_alive()

    def take(self, job: Job) -> None:
        """Give it a job."""
        self._listener.log = self._writer.log = job.log
        self.say({"job": job.to_dict()})

    def say(self, message: dict[str, object]) -> None:
        """Write a message to it, when it reads."""
        self._to_say.put(json.dumps(message).encode() + b"\n")

    def lost(self) -> Failed | None:
        """It looks at the process, at what listens to it, and at what writes to it."""
        status = self._process.poll()  # which buries a dead one: no zombie is taken for a living process
        ends = status is not None or not self._listener.is_alive()
        if not ends and self._writer.is_alive():
            return None
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        settled = time.monotonic() - self._ended_at > SETTLE_SECONDS
        if self._listener.reason:
            return Failed(cause="lost", message=self._listener.reason)
        if status is not None:  # its last lines may be on their way, or what it has started may hold its output open
            return _ended(status) if settled or not self._listener.is_alive() else None
        if not settled:
            return None
        what = "tells nothing any more" if ends else f"takes no message: {self._writer.reason}"
        return Failed(cause="lost", message=f"the worker process {what}")

    def end(self) -> None:
        """End it, and what it has started. What even the system cannot end (a disk that does not answer) is left."""
        self._to_say.put(None)
        if self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            if self._process.poll() is None:
                _signal(self._process, number)
                with suppress(self._too_late):
                    self._process.wait(KILL_SECONDS)
        _signal(self._process, getattr(signal, "SIGKILL", signal.SIGTERM))  # what it has left, be it stopped

    def _listen(self) -> None:
        """Pass on its lines, until there are no more. A line that is not whole is the end of one that was killed."""
        stream, lines = self._process.stdout, Lines()
        assert stream is not None
        with stream:
            while piece := stream.read(1 << 16):
                for line in lines.of(piece):
                    self._hear(self, from_line(line))

    def _write(self) -> str | None:
        stream = self._process.stdin
        assert stream is not None
        with stream:
            while (message := self._to_say.get()) is not None:
                left = memoryview(message)
                try:
                    while left:
                        left = left[stream.write(left) :]
                except OSError as error:  # it has closed its input, most often because it has ended
                    return in_words(error)
        return None


def _ended(status: int) -> Failed:
    if status == -9:
        hint = "Most often the operating system does that when memory runs out."
        return Failed(cause="lost", message="the worker process was killed", hint=hint)
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Failed(cause="lost", message=f"the worker process ended unexpectedly ({how})")


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A worker that sees the same packages as this process, in a process group of its own."""
    import subprocess  # here, as most runs find all that they need

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
    """To the worker and to what it has started."""
    with suppress(OSError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)

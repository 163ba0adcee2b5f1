"""Worker processes on this machine, and the launchers that have some of them beside the driver.

The driver writes JSON lines to the worker's standard input and reads JSON lines from what was its standard output, see
`lorapipe.pipeline.worker`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lorapipe.pipeline.events import Failed
from lorapipe.pipeline.job import Done, Job
from lorapipe.pipeline.launchers import Launcher
from lorapipe.pipeline.workers import Message, Slot, Tell, Worker, from_line
from lorapipe.spec import param

if TYPE_CHECKING:
    import subprocess

KILL_SECONDS = 5.0
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

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._tell: Tell | None = None
        self._name = ""
        self._lock = threading.Lock()

    def start(self, job: Job, tell: Tell) -> None:
        """See `Worker.start`."""
        with self._lock:
            self._tell, self._name = tell, job.name
            if self._process is None:
                self._process = _spawn()
                threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self._send({"job": job.to_dict()})

    def ask_to_stop(self) -> None:
        """See `Worker.ask_to_stop`."""
        self._send({"stop": True})

    @property
    def is_warm(self) -> bool:
        """Whether the process is there."""
        return self._process is not None

    def close(self) -> None:
        """See `Worker.close`: first politely, then not."""
        with self._lock:
            process, self._process, self._tell = self._process, None, None
        if process is None:
            return
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        if process.poll() is None:
            import subprocess

            _signal(process, signal.SIGTERM)
            try:
                process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
                process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):  # a worker that has ended is noticed by its silence
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Pass on the process's lines, and its end if a job was not over."""
        assert process.stdout is not None
        for line in process.stdout:
            self._pass_on(process, from_line(line))
        status = process.wait()
        self._pass_on(process, _lost(self._name, status), last=True)

    def _pass_on(self, process: subprocess.Popen[str], message: Message, last: bool = False) -> None:
        """Tell, unless the process is no longer ours or no job is waiting for an end."""
        with self._lock:
            if process is not self._process:
                return
            tell = self._tell
            if isinstance(message, (Done, Failed)):
                self._tell = None
            if last:
                self._process = None
        if tell is not None:
            tell(message)


def _lost(name: str, status: int) -> Failed:
    if status == -9:
        hint = "Most often the operating system does that when memory runs out."
        return Failed(name, "lost", "the worker process was killed", hint)
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Failed(name, "lost", f"the worker process ended unexpectedly ({how})", "")


def _spawn() -> subprocess.Popen[str]:
    """A worker that sees the same packages as this process, in a process group of its own."""
    import subprocess  # here, as most runs find all that they need

    environment = {**KEEP_FREED_MEMORY, **os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        [sys.executable, "-m", "lorapipe.pipeline.worker"],
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

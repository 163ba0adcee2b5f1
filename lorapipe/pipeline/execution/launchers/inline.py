"""Stages run in the driver's process, one at a time, on a thread: for debuggers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.pipeline.context import ModelCache
from lorapipe.pipeline.events import Failed
from lorapipe.pipeline.execution.job import Job
from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.pipeline.execution.pool import Slot, Tell, Worker
from lorapipe.pipeline.execution.stage_execution import perform
from lorapipe.supervised_thread import SupervisedThread


@dataclass(frozen=True)
class Inline(Launcher):
    """In this process, for debuggers: a stage that ignores a stop request cannot be killed."""

    in_this_process: ClassVar[bool] = True

    def slots(self, devices: Sequence[str]) -> list[Slot]:
        return [Slot(Thread(), devices[0], shares_device=True)]


class Thread(Worker):
    """Runs jobs on a thread."""

    def __init__(self) -> None:
        self._warm = ModelCache()
        self._stop = threading.Event()
        self._thread: SupervisedThread | None = None

    def start(self, job: Job, tell: Tell) -> None:
        self._stop = stop = threading.Event()

        def work() -> None:
            tell(perform(job, tell, stop.is_set, self._warm))

        self._thread = SupervisedThread(job.name, work, job.log)
        self._thread.start()

    def lost(self) -> Failed | None:
        if self._thread is None or self._thread.is_alive():
            return None
        return Failed(cause="lost", message=self._thread.reason or "the stage's thread has ended")

    def ask_to_stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """Request a stop: a thread cannot be killed."""
        self._stop.set()

    @property
    def is_warm(self) -> bool:
        """True: there is nothing to start."""
        return True

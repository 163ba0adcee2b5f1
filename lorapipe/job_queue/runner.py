"""Run the jobs of the queue: one at a time on each device, with a thread for each device.

    runner = QueueRunner(queue, ["cuda:0", "cuda:1"], stopping=stop.level)
    for told in runner.events():
        print(told.job.title, told.event or told.job.state)

The worker processes of a device are reused for further jobs and end when no job waits, so an idle queue needs no GPU memory.
"""

from __future__ import annotations

import logging
import queue as queues
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from lorapipe.errors import LorapipeError, Problem
from lorapipe.job_queue.execution import Execution
from lorapipe.job_queue.hooks import JobHooks
from lorapipe.job_queue.job import Claim, QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline.events import Asked, Event, Progress
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import StopLevel, never_stop, open_pool
from lorapipe.supervised_thread import SupervisedThread, in_words

T = TypeVar("T")

log = logging.getLogger("lorapipe")

LOOK_SECONDS = 1.0
"""Seconds between an idle device's checks for new jobs, and a busy one's checks whether its job is cancelled."""
PROGRESS_SECONDS = 1.0
"""Seconds between two records of progress for other processes."""
ENDED_SECONDS = 120.0
"""Most seconds for the hooks at a job's end."""
ENDED_WHEN_STOPPING_SECONDS = 5.0
"""The same when the runner stops."""
JOIN_SECONDS = 90.0
"""Most seconds for the threads to end: more than anything they wait for."""


@dataclass(frozen=True)
class JobEvent:
    """An event of a job's run; without `event`, the job has begun or ended, according to its state."""

    job: QueueJob
    event: Event | None = None


class QueueRunner:
    """Runs the jobs of a queue on several devices. With `forever` it waits for new jobs when the queue is empty."""

    def __init__(
        self,
        queue: Queue,
        devices: Sequence[str],
        *,
        hooks: JobHooks | None = None,
        stopping: StopLevel = never_stop,
        forever: bool = False,
        on: object = "local",
    ) -> None:
        self._events: queues.Queue[JobEvent] = queues.Queue()
        """No `SimpleQueue`: CPython 3.11's waits for ever if a signal's handler is at work when the time is over."""
        self._is_closed = False

        def level() -> int:
            return 2 if self._is_closed else max(stopping(), int(self._has_failed))

        def thread(device: str) -> DeviceThread:
            new_pool = partial(open_pool, on, (device,))
            return DeviceThread(queue, device, hooks or JobHooks(), level, self._events.put, forever, new_pool)

        self._threads = [thread(device) for device in devices]

    def wake(self) -> None:
        """Check for new jobs now."""
        for each in self._threads:
            each.wake_event.set()

    def events(self) -> Generator[JobEvent, None, None]:
        """Run jobs and yield their events until none is left or `stopping` is set; closing the generator stops at once.

        Raises `LorapipeError` if a device's thread fails, after the others have stopped.
        """
        for each in self._threads:
            each.start()
        try:
            while self._is_at_work or not self._events.empty():
                try:
                    yield self._events.get(timeout=0.5 if self._is_at_work else 0)
                except queues.Empty:
                    continue
        finally:
            self._is_closed = True
            for each in self._threads:
                each.join(JOIN_SECONDS)
        reasons = dict.fromkeys(each.reason for each in self._threads if each.reason)
        if reasons:
            cure = "Running jobs keep their state and resume at the next start."
            raise LorapipeError([Problem(f"the queue can no longer be run: {each}", cure=cure) for each in reasons])

    @property
    def _is_at_work(self) -> bool:
        return any(each.is_alive() for each in self._threads)

    @property
    def _has_failed(self) -> bool:
        return any(each.reason for each in self._threads)


class DeviceThread(SupervisedThread):
    """Runs the jobs of one device."""

    def __init__(
        self,
        queue: Queue,
        device: str,
        hooks: JobHooks,
        stopping: StopLevel,
        emit: Callable[[JobEvent], None],
        forever: bool,
        new_pool: Callable[[], Pool],
    ) -> None:
        super().__init__(f"queue {device}", self._work)
        self.wake_event = threading.Event()
        self._queue = queue
        self._device = device
        self._hooks = hooks
        self._stopping = stopping
        self._emit = emit
        self._forever = forever
        self._new_pool = new_pool
        self._pool: Pool | None = None

    def _work(self) -> None:
        """Run jobs until none is left or this thread should stop."""
        try:
            while not self._stopping():
                self.wake_event.clear()
                self._retry_when_locked(self._queue.recover)
                self._report_ended()
                claim = self._retry_when_locked(lambda: self._queue.claim(self._device, self._objection))
                if claim is not None:
                    with closing(claim.lock):  # the job has no owner afterwards, also after an error
                        self._run_job(claim)
                    continue
                self._close_pool()
                if not self._forever:
                    return
                self.wake_event.wait(LOOK_SECONDS)
        finally:
            self._close_pool()

    def _close_pool(self) -> None:
        """End the workers."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _warm_pool(self) -> Pool:
        if self._pool is None:
            self._pool = self._new_pool()
        return self._pool

    def _objection(self, job: QueueJob) -> str:
        """Return why a job cannot begin yet. Errors in the hook show when the job is opened."""
        try:
            return self._hooks.objection(job)
        except OSError as error:
            return f"waits: {in_words(error)}"
        except (Exception, SystemExit):
            return ""

    def _run_job(self, claim: Claim) -> None:
        self._emit(JobEvent(claim.job))
        execution = self._execution(claim.job)
        outcome = execution.outcome()
        if execution.is_abandoned:
            self._close_pool()
        if outcome.state == "waiting":
            self._emit(JobEvent(self._retry_when_locked(lambda: self._queue.release(claim))))
            return
        self._retry_when_locked(lambda: self._queue.finish(claim, outcome.state, outcome.reason))
        self._report_ended()

    def _execution(self, job: QueueJob) -> Execution:
        told_at, asking = 0.0, ""

        def on_event(event: Event) -> None:
            nonlocal told_at, asking
            is_due = isinstance(event, Progress) and time.monotonic() - told_at >= PROGRESS_SECONDS
            if isinstance(event, Asked) or (event.stage == asking if asking else is_due):  # a question stays
                told_at = time.monotonic()
                asking = event.stage if isinstance(event, Asked) else ""
                told = vars(event) if isinstance(event, (Asked, Progress)) else None
                with suppress(sqlite3.OperationalError):
                    self._queue.record_progress(job.number, told)
            self._emit(JobEvent(job, event))

        return Execution(
            job,
            self._hooks,
            self._warm_pool,
            self._asked(job),
            self._stopping,
            on_event,
            lambda run: self._queue.note_run(job.number, run),
        )

    def _report_ended(self) -> None:
        """Run the end hooks of ended jobs, including those that another process has cancelled or abandoned."""
        for job in self._retry_when_locked(self._queue.ended):
            self._run_end_hooks(job)
            self._emit(JobEvent(job))

    def _run_end_hooks(self, job: QueueJob) -> None:
        """Run the hooks of a job's end, with a time limit.

        They may call users' programs, for which neither the next job nor a stop should wait long.
        """

        def ended() -> None:
            self._hooks.ended(job)

        thread = SupervisedThread(f"end of job {job.number}", ended)
        thread.start()
        deadline = time.monotonic() + ENDED_SECONDS
        while thread.is_alive() and time.monotonic() < deadline:
            if self._stopping():
                deadline = min(deadline, time.monotonic() + ENDED_WHEN_STOPPING_SECONDS)
            thread.join(0.05)

    def _retry_when_locked(self, change: Callable[[], T]) -> T:
        """Change the queue, and retry while it cannot be written, such as on a full disk."""
        said = ""
        while True:
            try:
                return change()
            except sqlite3.OperationalError as error:
                if self._stopping():
                    raise
                if str(error) != said:
                    said = str(error)
                    log.warning("%s The queue waits and tries again.", said)
                time.sleep(LOOK_SECONDS)

    def _asked(self, job: QueueJob) -> Callable[[], int]:
        """Return a function that says how urgently the job is asked to stop; it reads the database once a second."""
        level, looked_at = 0, time.monotonic()

        def asked() -> int:
            nonlocal level, looked_at
            now = time.monotonic()
            if now - looked_at >= LOOK_SECONDS:
                with suppress(sqlite3.OperationalError):
                    level = self._queue.asked(job.number)
                looked_at = now
            return level

        return asked

"""Working the queue off: one job at a time on each device, each device on a thread of its own.

    crew = Crew(queue, ["cuda:0", "cuda:1"], stopping=stop.level)
    for told in crew.events():
        print(told.job.title, told.event or told.job.state)

The worker processes of a device stay warm from job to job and end when no job waits, so that an idle queue costs nothing
and the GPU's memory is free.
"""

from __future__ import annotations

import queue as queues
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TypeVar

from lorapipe.errors import LorapipeError
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.database import Unavailable
from lorapipe.pipeline.events import Event, Failed, Progress
from lorapipe.pipeline.language import Pipeline
from lorapipe.pipeline.run import Run, Stopping, go_on, open_pool, run
from lorapipe.pipeline.workers import Pool
from lorapipe.queue.care import Care
from lorapipe.queue.job import Claim, Job, State
from lorapipe.queue.jobs import Queue

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""How often an idle device looks for a job that another process has added, and a busy one whether its job is cancelled."""
TELL_SECONDS = 1.0
"""How often progress is written for other processes."""


@dataclass(frozen=True)
class Told:
    """Something about a job: an event of its run, or (None) that it has begun or ended, as its state says."""

    job: Job
    event: Event | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ends; `waiting` where its owner was told to stop."""

    state: State
    reason: str = ""


class Crew:
    """The threads that work a queue off. With `forever` they wait for more when it is empty; otherwise they end."""

    def __init__(
        self,
        queue: Queue,
        devices: Sequence[str],
        *,
        care: Care | None = None,
        stopping: Stopping = go_on,
        forever: bool = False,
        on: object = "local",
    ) -> None:
        self._told: queues.SimpleQueue[Told] = queues.SimpleQueue()
        self._given_up = False

        def level() -> int:
            return 2 if self._given_up else stopping()

        def hand(device: str) -> Hand:
            return Hand(queue, device, care or Care(), level, self._told.put, forever, lambda: open_pool(on, (device,)))

        self._hands = [hand(device) for device in devices]

    def wake(self) -> None:
        """There may be a new job: look now."""
        for each in self._hands:
            each.bell.set()

    def events(self) -> Generator[Told, None, None]:
        """Work, and say what happens, until there is nothing left or `stopping` has stopped it; closing stops it at once."""
        for each in self._hands:
            each.start()
        try:
            while self._is_at_work or not self._told.empty():
                try:
                    yield self._told.get(timeout=0.5 if self._is_at_work else 0)
                except queues.Empty:
                    continue
        finally:
            self._given_up = True
            for each in self._hands:
                each.join()

    @property
    def _is_at_work(self) -> bool:
        return any(each.is_alive() for each in self._hands)


class Hand(threading.Thread):
    """Runs the jobs of one device."""

    def __init__(
        self,
        queue: Queue,
        device: str,
        care: Care,
        stopping: Stopping,
        tell: Callable[[Told], None],
        forever: bool,
        new_pool: Callable[[], Pool],
    ) -> None:
        super().__init__(name=f"queue {device}", daemon=True)
        self.bell = threading.Event()
        self._queue = queue
        self._device = device
        self._care = care
        self._stopping = stopping
        self._tell = tell
        self._forever = forever
        self._new_pool = new_pool
        self._pool: Pool | None = None

    def run(self) -> None:
        """Take jobs until there are none, or no more are wanted."""
        try:
            while not self._stopping():
                self.bell.clear()
                self._lastingly(self._queue.recover)
                self._tell_of_ends()
                claim = self._lastingly(lambda: self._queue.claim(self._device, self._care.objection))
                if claim is not None:
                    self._do(claim)
                    continue
                self._rest()
                if not self._forever:
                    return
                self.bell.wait(LOOK_SECONDS)
        except Unavailable:  # and no more is wanted: the job is taken back by whoever opens the queue next
            pass
        finally:
            self._rest()

    def _rest(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _do(self, claim: Claim) -> None:
        self._tell(Told(claim.job))
        outcome = self._outcome(claim.job)
        if outcome.state == "waiting":
            self._tell(Told(self._lastingly(lambda: self._queue.release(claim))))
            return
        self._lastingly(lambda: self._queue.finish(claim, outcome.state, outcome.reason))
        self._tell_of_ends()

    def _tell_of_ends(self) -> None:
        """Also of the jobs that another process has cancelled, or whose owner is gone."""
        for job in self._lastingly(self._queue.ended):
            self._care.ended(job)
            self._tell(Told(job))

    def _lastingly(self, change: Callable[[], T]) -> T:
        """Change the queue, and wait while that cannot be written: a disk may be full for a night, and then is not."""
        while True:
            try:
                return change()
            except sqlite3.OperationalError:
                if self._stopping():
                    raise
                time.sleep(LOOK_SECONDS)

    def _outcome(self, job: Job) -> Outcome:
        try:
            pipeline = self._care.open(job)
            if self._pool is None:
                self._pool = self._new_pool()
            return self._run(job, pipeline, self._pool)
        except (LorapipeError, OSError) as error:
            return Outcome("failed", in_words(error))
        except Exception as error:  # a mistake of ours must not end the queue
            traceback.print_exc()
            return Outcome("failed", f"{type(error).__name__}: {error}")

    def _run(self, job: Job, pipeline: Pipeline, pool: Pool) -> Outcome:
        asked = self._asked(job)
        number = job.number
        numbered = lambda run: self._queue.note_run(number, run)  # noqa: E731
        running = run(pipeline, pool=pool, stopping=lambda: max(self._stopping(), asked()), numbered=numbered)
        with closing(running):
            artifacts, failures = self._follow(job, running)
        if asked():
            return Outcome("cancelled")
        if self._stopping():
            return Outcome("waiting")
        if failures:
            return _of(failures)
        self._care.deliver(job, artifacts)
        return Outcome("done")

    def _follow(self, job: Job, running: Run) -> tuple[dict[str, Artifact], list[Failed]]:
        """Pass on what a run tells; its artifacts, and what failed."""
        failures, told_at = list[Failed](), 0.0
        while True:
            try:
                event = next(running)
            except StopIteration as end:
                return end.value, failures
            if isinstance(event, Failed) and event.cause != "cancelled":
                failures.append(event)
            if isinstance(event, Progress) and time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                with suppress(sqlite3.OperationalError):
                    self._queue.tell(job.number, vars(event))
            self._care.note(job, event)
            self._tell(Told(job, event))

    def _asked(self, job: Job) -> Callable[[], int]:
        """Whether another process wants the job to stop; the database is asked once a second."""
        level, looked_at = 0, time.monotonic()

        def asked() -> int:
            nonlocal level, looked_at
            now = time.monotonic()
            if now - looked_at >= LOOK_SECONDS:
                level, looked_at = self._queue.asked(job.number), now
            return level

        return asked


def _of(failures: Sequence[Failed]) -> Outcome:
    """Set aside where a worker was lost, so often as the stage may be started again; otherwise failed."""
    lost = any(each.cause == "lost" for each in failures)
    reasons = [" ".join(filter(None, [f"{each.stage}:", each.message, each.hint])) for each in failures]
    return Outcome("aside" if lost else "failed", "\n".join(reasons))


def in_words(error: LorapipeError | OSError) -> str:
    """What went wrong, as one line for each thing."""
    if isinstance(error, LorapipeError):
        return "\n".join("\n".join(filter(None, [str(each), each.excerpt])) for each in error.problems)
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"

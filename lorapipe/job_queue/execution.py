"""Run one job of the queue on a separate thread, which its owner can abandon.

Reading a pipeline and its sources may take long, and for ever if a disk does not answer. Cancelling the job or ending the
program does not wait for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lorapipe.errors import LorapipeError
from lorapipe.job_queue.hooks import JobHooks
from lorapipe.job_queue.job import QueueJob, State
from lorapipe.pipeline.events import Event, Failed
from lorapipe.pipeline.execution.attempt import GRACE_SECONDS
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import PipelineRun, StopLevel
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.supervised_thread import SupervisedThread, in_words
from lorapipe.tuning.run_class import run_class

LOOK_SECONDS = 0.1
"""Seconds between checks whether the job should stop."""
OPENING_SECONDS = 3.0
"""How long a job that has not started running may take to stop; there is nothing to save yet."""
ENDING_SECONDS = 60.0
"""How long a running job may take to stop at once, which ends its workers."""
SAVING_SECONDS = GRACE_SECONDS + ENDING_SECONDS
"""How long a running job may take to save its state and stop."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended; `waiting` if its owner was asked to stop."""

    state: State
    reason: str = ""


class Execution:
    """A running job. `asked` returns how urgently to cancel it, `stopping` how urgently its owner should stop (0, 1, 2)."""

    def __init__(
        self,
        job: QueueJob,
        hooks: JobHooks,
        pool: Callable[[], Pool],
        asked: Callable[[], int],
        stopping: StopLevel,
        on_event: Callable[[Event], None],
        on_run_number: Callable[[int], None],
    ) -> None:
        self._job = job
        self._hooks = hooks
        self._pool = pool
        self._asked = asked
        self._stopping = stopping
        self._on_event = on_event
        self._on_run_number = on_run_number
        self._level = 0
        self._runs = False
        self.is_abandoned = False
        """Whether its thread did not end in time: its events are then ignored, and its workers must be closed."""

    def outcome(self) -> Outcome:
        """Run the job and wait for its end; after a stop request only as long as stopping may take."""
        thread = SupervisedThread(f"job {self._job.number}", self._work)
        thread.start()
        wanted_at = 0.0
        while thread.is_alive():
            before, self._level = self._level, max(self._level, self._asked(), self._stopping())
            if self._level > before:
                wanted_at = time.monotonic()
            if self._level and time.monotonic() - wanted_at > self._patience:
                self.is_abandoned = True
                break
            thread.join(LOOK_SECONDS)
        if self._asked():
            return Outcome("cancelled")
        if self._stopping() or (self.is_abandoned and self._level):
            return Outcome("waiting")
        return self._ended(thread)

    @property
    def _patience(self) -> float:
        if not self._runs:
            return OPENING_SECONDS
        return SAVING_SECONDS if self._level < 2 else ENDING_SECONDS

    def _ended(self, thread: SupervisedThread) -> Outcome:
        return Outcome("failed", _all(thread.error)) if thread.error is not None else self._result

    def _work(self) -> None:
        self._result = self._run(self._hooks.open(self._job))

    def _run(self, pipeline: Pipeline) -> Outcome:
        if self._level:
            return Outcome("waiting")
        with run_class(pipeline)(pipeline, pool=self._pool(), stopping=self._stop_level) as run:
            self._forward_events(run)
        if run.failures:
            return _of(run.failures)
        if not self._level:
            self._hooks.deliver(self._job, run.artifacts)
        return Outcome("done")

    def _stop_level(self) -> int:
        return 2 if self.is_abandoned else self._level

    def _forward_events(self, run: PipelineRun) -> None:
        """Pass on a run's events."""
        number: int | None = None
        for event in run:
            if run.number is not None and run.number != number:  # a tuning is several runs
                self._on_run_number(number := run.number)
            self._runs = True
            if self.is_abandoned:
                return
            with suppress(OSError):
                self._hooks.note(self._job, event)
            self._on_event(event)


def _of(failures: Sequence[Failed]) -> Outcome:
    """Return `aside` if a worker was lost more often than the stage's retries allow; otherwise `failed`."""
    lost = any(each.cause == "lost" for each in failures)
    reasons = [" ".join(filter(None, [f"{each.stage}:", each.message, each.hint])) for each in failures]
    return Outcome("aside" if lost else "failed", "\n".join(reasons))


def _all(error: BaseException) -> str:
    """Return the error as text, one line for each problem."""
    if not isinstance(error, LorapipeError):
        return in_words(error)
    return "\n".join("\n".join(filter(None, [str(each), each.excerpt])) for each in error.problems)

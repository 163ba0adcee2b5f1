"""An attempt: one stage on one slot, with the lock on its result, its timeout and its retries."""

from __future__ import annotations

import queue
import time
from dataclasses import replace

from lorapipe.pipeline.events import Failed
from lorapipe.pipeline.execution.job import Job
from lorapipe.pipeline.execution.pool import Message, Slot
from lorapipe.pipeline.keys import Identity
from lorapipe.pipeline.locks import Lock
from lorapipe.pipeline.stage_options import StageOptions
from lorapipe.stages import Stage
from lorapipe.supervised_thread import in_words

GRACE_SECONDS = 120.0
"""How long a stage may take to save its state after a stop request."""
Inbox = queue.Queue[tuple["Attempt", Message]]
"""Messages of all attempts. No `SimpleQueue`: CPython 3.11's waits for ever if a signal's handler is at work when the time
is over."""


class Attempt:
    """A stage (references resolved) that runs on a worker. The worker's messages go into the inbox."""

    def __init__(
        self, stage: Stage, identity: Identity, job: Job, slot: Slot, lock: Lock, options: StageOptions
    ) -> None:
        self.stage = stage
        self.identity = identity
        self.job = job
        self.slot = slot
        self.retries = options.retries
        self._timeout = options.timeout
        self.began = time.time()
        self._lock = lock
        self._since: float | None = None
        self._asked: float | None = None
        self._late = False
        slot.busy = True

    @property
    def name(self) -> str:
        """The stage's name in the pipeline."""
        return self.job.name

    @property
    def is_ending(self) -> bool:
        """Whether the stage was asked to stop."""
        return self._asked is not None

    def start(self, inbox: Inbox) -> None:
        """Give the job to the worker. A worker that cannot start counts as lost."""
        self._since = None
        try:
            self.slot.worker.start(self.job, lambda message: inbox.put((self, message)))
        except Exception as error:  # no memory, thread or disk space for a process, or any error of a cluster's client
            inbox.put((self, Failed(self.name, "lost", f"the worker could not be started: {in_words(error)}")))

    def mark_started(self) -> None:
        """Start the timeout. Called when the stage holds all its locks."""
        self.began, self._since = time.time(), time.monotonic()

    def ask_to_stop(self) -> None:
        """Ask the stage to save its state and to end."""
        if self._asked is None:
            self._asked = time.monotonic()
            self.slot.worker.ask_to_stop()

    def check_clock(self, stopping: int) -> Failed | None:
        """Ask the stage to stop on the user's request (a `runner.StopLevel`) or after its timeout.

        Returns the failure if it must end now, else None.
        """
        now = time.monotonic()
        limit = self._timeout
        if stopping:
            self.ask_to_stop()
        if limit is not None and self._since is not None and now - self._since > limit.seconds:
            self._late = self._late or not self.is_ending
            self.ask_to_stop()
        if stopping > 1 or (self._asked is not None and now - self._asked > GRACE_SECONDS):
            return Failed(self.name, "cancelled", "stopped")
        return None

    def check_worker(self, inbox: Inbox) -> Failed | None:
        """Return the failure if the worker is gone without an outcome; None while an outcome can still come."""
        lost = self.slot.worker.lost()
        return lost if inbox.empty() else None  # in this order: messages sent before it was lost are handled first

    def explain(self, failed: Failed) -> Failed:
        """Add to a failure what only the driver knows: that the timeout expired, and where the log is."""
        if self._late and failed.cause == "cancelled" and self._timeout is not None:
            hint = "Its saved state is kept: run again to go on, or give it more time."
            return Failed(self.name, "timeout", f"not finished within its timeout of {self._timeout.plain()}", hint)
        has_log = failed.cause in ("error", "oom", "lost") and self.job.log.exists()
        log = f"Its log: {self.job.log}" if has_log else ""
        return replace(failed, stage=self.name, hint=f"{failed.hint} {log}".strip())

    def release(self) -> None:
        """Release the slot and the lock."""
        self._lock.close()
        self.slot.busy = False

    def abandon(self) -> None:
        """Kill the worker at once, and release the slot and the lock."""
        self.slot.worker.close()
        self.release()

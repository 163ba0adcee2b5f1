"""Schedules the stages of a run onto the slots of a pool.

    settled ─→ ready ─┬─ its result is there: reuse ──────────────────────────────────────────→ settled
                      └─ queued ─ slot and lock ─→ an attempt runs ─┬─ done: publish ─────────→ settled
                                                                    ├─ lost: once more
                                                                    └─ failed ────────────────→ settled

A stage is ready when all its needs are settled. One thread does all of this; workers only put messages into its inbox, so
the only lock is the one that other processes share: that on the key of a result.
"""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Set
from dataclasses import replace
from pathlib import Path

from lorapipe.errors import LorapipeError
from lorapipe.pipeline import references
from lorapipe.pipeline.artifact_json import encode
from lorapipe.pipeline.artifacts import Artifact, to_open
from lorapipe.pipeline.context import QUESTION
from lorapipe.pipeline.destinations import Destinations
from lorapipe.pipeline.events import Asked, Event, Failed, Finished, Log, Planned, Reused, Started
from lorapipe.pipeline.execution.attempt import Attempt, Inbox
from lorapipe.pipeline.execution.dependency_graph import DependencyGraph
from lorapipe.pipeline.execution.job import Done, Job, failure
from lorapipe.pipeline.execution.pool import Message, Pool, Slot
from lorapipe.pipeline.gc_roots import Roots
from lorapipe.pipeline.keys import Identity
from lorapipe.pipeline.ledger import Ledger, Result
from lorapipe.pipeline.locks import Busy, take
from lorapipe.pipeline.manifest import Origin
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.plan import PlannedStage, decide
from lorapipe.spec import to_dict
from lorapipe.stages import Stage

POLL_SECONDS = 0.1
"""How often timeouts, stop requests and other processes' locks are checked."""


class Scheduler:
    """The scheduler of one run. `artifacts` holds the artifacts made or reused so far, by stage name."""

    def __init__(
        self,
        pipeline: Pipeline,
        ledger: Ledger,
        roots: Roots,
        pool: Pool,
        number: int,
        anew: Set[str],
        stopping: Callable[[], int],
        destinations: Destinations,
    ) -> None:
        self.artifacts: dict[str, Artifact] = {}
        self._pipeline = pipeline
        self._ledger = ledger
        self._roots = roots
        self._pool = pool
        self._number = number
        self._anew = anew
        self._stopping = stopping
        self._destinations = destinations
        self._graph = DependencyGraph(pipeline.needs)
        self._on_devices = [name for name, stage in pipeline.stages.items() if stage.needs_device]
        self._steps: dict[str, PlannedStage] = {}
        self._queue: list[tuple[Stage, PlannedStage]] = []
        self._running: list[Attempt] = []
        self._asked: list[tuple[Stage, PlannedStage, Path]] = []
        """Stages that wait for an answer, and the file that will have it. They hold no slot, no device and no lock."""
        self._inbox: Inbox = queue.Queue()
        self._pending: deque[Event] = deque()
        self._reported_waiting: set[str] = set()

    def events(self, steps: Iterable[PlannedStage]) -> Generator[Event, None, None]:
        """Run the plan and yield its events. A stage whose inputs did not exist yet is planned when they do."""
        self._steps = {step.name: step for step in steps}
        while True:
            while self._graph.ready and not self._stopping():
                self._reuse_or_queue(self._graph.ready.popleft())
                yield from self._drain()
            self._queue_answered()
            self._start_queued()
            yield from self._drain()
            if not self._running and (self._stopping() or not (self._queue or self._graph.ready or self._asked)):
                return
            self._receive()
            self._check_running()
            yield from self._drain()

    def close(self) -> None:
        """Kill the running stages and their workers."""
        for attempt in self._running:
            attempt.abandon()
        self._running.clear()

    def _drain(self) -> Generator[Event, None, None]:
        while self._pending:
            yield self._pending.popleft()

    def _settle(self, name: str) -> None:
        """Mark a stage as settled; stages that waited only for it become ready, or are cancelled."""
        if self._stopping():
            return
        for each, missing in self._graph.settle(name, self.artifacts):
            what = f"not run, because it needs {' and '.join(missing)}"
            self._pending.append(Failed(each, "cancelled", what))

    def _fail_stage(self, name: str, error: Exception) -> None:
        self._pending.append(failure(name, error))
        self._settle(name)

    # ------------------------------------------------------------------------------------------------ before it runs

    def _reuse_or_queue(self, name: str) -> None:
        """Reuse the result of a ready stage, or queue the stage."""
        try:
            step = self._steps[name]
            stage = step.stage
            if stage is None:
                stage = references.resolve(self._pipeline.stages[name], self.artifacts)
                step = self._decide(name, stage)
                self._pending.append(Planned(name, step.action, step.reason))
            if step.result is None:
                self._queue.append((stage, step))
            else:
                self._reuse(name, stage, step.result)
        except (LorapipeError, OSError) as error:
            self._fail_stage(name, error)

    def _decide(self, name: str, stage: Stage) -> PlannedStage:
        """Return the planned action of a stage; a reused result was added to the GC roots of this run."""
        while True:
            step = decide(self._pipeline, name, stage, self._ledger, self._anew)
            if step.result is None or step.identity is None or self._roots.add([step.identity.id]):
                return step

    def _queue_answered(self) -> None:
        """Queue the stages whose answer is there."""
        answered = [each for each in self._asked if each[2].is_file()]
        self._asked = [each for each in self._asked if each not in answered]
        self._queue += [(stage, step) for stage, step, _ in answered]

    def _start_queued(self) -> None:
        """Start queued stages, in order, while slots are free."""
        if not self._queue or self._stopping():
            return
        at_work = {attempt.name for attempt in self._running}
        spare = not any(name in self._graph.unsettled and name not in at_work for name in self._on_devices)
        left = []
        for stage, step in self._queue:
            slot = self._pool.free(stage.needs_device, spare)
            try:
                if slot is None or not self._start(stage, step, slot):
                    left.append((stage, step))
            except (LorapipeError, OSError) as error:
                self._fail_stage(step.name, error)
        self._queue = left

    def _start(self, stage: Stage, step: PlannedStage, slot: Slot) -> bool:
        """Lock the key and start the stage. Returns False while another run makes the same result (reused later)."""
        name, identity = step.name, step.identity
        assert identity is not None
        try:
            lock = take(self._ledger.locks / f"{identity.id}.lock")
        except Busy as busy:
            if name not in self._reported_waiting:
                what = f"waits for {busy.who}, which is making the same result"
                self._pending.append(Log(name, what, "warning"))
                self._reported_waiting.add(name)
            return False
        try:
            self._roots.add([identity.id])  # from here on `gc` keeps the result, whether found or made
            found = None if name in self._anew else self._found(name, stage, identity)
            if found is not None:
                lock.close()
                self._reuse(name, stage, found)
                return True
            options = self._pipeline.options_of(name)
            attempt = Attempt(stage, identity, self._job(name, identity, slot), slot, lock, options)
        except BaseException:
            lock.close()
            raise
        self._steps[name] = step  # as it was decided when its inputs were there
        self._running.append(attempt)
        attempt.start(self._inbox)
        return True

    def _found(self, name: str, stage: Stage, identity: Identity) -> Result | None:
        """Return a result that another run has made meanwhile, or had finished before it was killed."""
        inputs = references.inputs(stage)
        found = self._ledger.result(identity.key, inputs)
        if isinstance(found, Result):
            return found
        found = self._ledger.adopt(identity.key, inputs)
        if not isinstance(found, Result):
            return None
        what = "an earlier run finished it but ended before publishing it; it is published now"
        self._pending.append(Log(name, what, "warning"))
        return found

    def _job(self, name: str, identity: Identity, slot: Slot) -> Job:
        spec, store = self._pipeline.stages[name], self._ledger.store
        return Job(
            name=name,
            key=identity.key,
            spec=to_dict(spec),
            inputs={need: encode(self.artifacts[need], store) for need in self._pipeline.needs[name]},
            attempt=str(self._ledger.attempt(identity.key)),
            store=str(store),
            cache=str(self._ledger.cache),
            lock=str(self._ledger.locks / f"{identity.id}.attempt"),
            device=slot.device or "cpu",
            takes_turns=spec.needs_device and slot.shares_device,
        )

    # --------------------------------------------------------------------------------------------------- while it runs

    def _receive(self) -> None:
        """Wait a moment for a message and handle it."""
        try:
            attempt, message = self._inbox.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        if attempt in self._running:  # it may have been killed meanwhile
            self._handle(attempt, message)

    def _handle(self, attempt: Attempt, message: Message) -> None:
        match message:
            case Done():
                self._finish(attempt, message)
            case Failed():
                self._fail(attempt, message)
            case _:
                if isinstance(message, Started):
                    attempt.mark_started()
                self._pending.append(replace(message, stage=attempt.name))

    def _check_running(self) -> None:
        """Check timeouts, stop requests and lost workers."""
        stopping = self._stopping()
        for attempt in list(self._running):
            ended = attempt.check_clock(stopping) or attempt.check_worker(self._inbox)
            if ended is not None:
                self._fail(attempt, ended)

    def _fail(self, attempt: Attempt, failed: Failed) -> None:
        if failed.cause == "lost" and attempt.retries and not attempt.is_ending:
            attempt.retries -= 1
            self._pending.append(Log(attempt.name, f"{failed.message}; it is started again", "warning"))
            attempt.slot.worker.close()
            attempt.start(self._inbox)
            return
        if failed.cause != "input":
            attempt.slot.worker.close()  # its memory may be in any state after a failure, or be needed while it waits
        self._end(attempt)
        if failed.cause == "waiting":
            self._ask(attempt, failed)
            return
        self._pending.append(attempt.explain(failed))
        self._settle(attempt.name)

    def _ask(self, attempt: Attempt, failed: Failed) -> None:
        """Let a stage wait for its answer: it runs again when that is there."""
        answer = Path(failed.hint)
        self._asked.append((attempt.stage, self._steps[attempt.name], answer))
        self._pending.append(Asked(attempt.name, failed.message, str(answer.with_name(QUESTION)), str(answer)))

    def _finish(self, attempt: Attempt, done: Done) -> None:
        name, identity = attempt.name, attempt.identity
        origin: Origin = {
            "pipeline": self._pipeline.name, "stage": name, "type": attempt.stage.key_name, "started": attempt.began,
        }  # fmt: skip
        try:
            result = self._ledger.publish(identity, done.artifact, origin)
            files = self._use(name, attempt.stage, result)
        except Exception as error:  # a third-party stage may also have returned an invalid artifact
            self._end(attempt)
            self._fail_stage(name, error)
            return
        self._end(attempt)
        self._pending.append(Finished(name, identity.key, time.time() - attempt.began, files))
        self._settle(name)

    def _end(self, attempt: Attempt) -> None:
        self._running.remove(attempt)
        attempt.release()

    # ---------------------------------------------------------------------------------------------- when it is there

    def _reuse(self, name: str, stage: Stage, result: Result) -> None:
        self._pending.append(Reused(name, result.key, self._use(name, stage, result)))
        self._settle(name)

    def _use(self, name: str, stage: Stage, result: Result) -> tuple[str, ...]:
        """Record and deliver a result, and return the files that a user may open."""
        self._ledger.records.use(self._number, self._pipeline.name, name, stage.key_name, result.key, time.time())
        self._ledger.mark_used(result)
        shown, out = self._ledger.link_output(name, result), f"{result.folder}{os.sep}out{os.sep}"
        delivered = self._destinations.deliver(name, stage, result.artifact)
        self.artifacts[name] = result.artifact
        if delivered:
            return tuple(map(str, delivered))
        files = (str(path) for path in to_open(result.artifact))
        return tuple(os.path.join(shown, file.removeprefix(out)) for file in files if file.startswith(out))  # noqa: PTH118

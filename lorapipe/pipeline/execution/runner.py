"""The run of a pipeline: plan → artifacts, as a stream of events. It is independent of the kinds of stage.

    for event in Run(load("cat.yaml")):
        print(event)

Independent stages run concurrently, as many as there are slots. A stage that fails cancels the stages that need it and no
others. The events are also written to `runs/<n>/events.jsonl`.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing, suppress
from types import TracebackType
from typing import IO, Any, Self

from lorapipe.errors import InputError, Interrupted, LorapipeError, Problem, problem_of
from lorapipe.fsync import make_folder, sync_all
from lorapipe.pipeline import run_files
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.destinations import Destinations
from lorapipe.pipeline.events import Event, Failed, Planned, Progress, Reused, to_json
from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.scheduler import Scheduler
from lorapipe.pipeline.gc_roots import Roots
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.plan import PlannedStage, plan
from lorapipe.spec import from_dict

StopLevel = Callable[[], int]
"""How urgently a run shall stop: 0 not at all, 1 after the running stages have saved their state, 2 at once."""


def never_stop() -> int:
    """Return 0: never stop."""
    return 0


def open_pool(on: object = "local", devices: Sequence[str] = ("auto",)) -> Pool:
    """Make the worker pool of a launcher, given as in a document: its name, or `{type: name, knob: value}`.

    Workers start when they are needed. Raises `InputError` for an unknown launcher or bad knobs.
    """
    contract: Any = Launcher  # abstract: from_dict returns one of its implementations
    launcher: Launcher = from_dict(contract, on)
    return Pool(launcher.slots(devices))


class PipelineRun(Iterator[Event]):
    """A run of a pipeline, which advances while somebody iterates over its events.

    Stages in `anew` run even if they have a result. `on` and `devices` choose the workers (see `open_pool`), which end with
    the run; a `pool` given instead stays warm for the next run. `stopping()` is called often. Closing the run kills the
    running stages. A subclass implements `_in_pool`.

    Iterating raises `InputError` if the store or a stage's destination cannot be written, or a source cannot be read.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        on: object = "local",
        devices: Sequence[str] = ("auto",),
        pool: Pool | None = None,
        anew: Set[str] = frozenset(),
        stopping: StopLevel = never_stop,
    ) -> None:
        self.pipeline = pipeline
        self.number: int | None = None
        """The run's number in the history; None before the first event."""
        self.artifacts: dict[str, Artifact] = {}
        """The artifacts made or reused so far, by stage name."""
        self.failures: list[Failed] = []
        """The stages that failed, without those that were cancelled because of them."""
        self._anew = anew
        self._stopping = stopping
        self._events = self._in_own_pool(on, devices) if pool is None else self._in_pool(pool)

    def __next__(self) -> Event:
        event = next(self._events)
        if isinstance(event, Failed) and event.cause != "cancelled":
            self.failures.append(event)
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill the running stages and end the run."""
        self._events.close()

    def finish(self, on_event: Callable[[Event], None] | None = None) -> dict[str, Artifact]:
        """Run to the end, call `on_event` with every event, and return the artifacts by stage name.

        Raises `LorapipeError` with all failures, after every stage that does not depend on them has run.
        """
        with self:
            for event in self:
                if on_event is not None:
                    on_event(event)
        if self.failures:
            raise LorapipeError([Problem(each.message, where=each.stage, cure=each.hint) for each in self.failures])
        return self.artifacts

    def _in_own_pool(self, on: object, devices: Sequence[str]) -> Generator[Event, None, None]:
        with closing(open_pool(on, devices)) as pool:
            yield from self._in_pool(pool)

    @abstractmethod
    def _in_pool(self, pool: Pool) -> Generator[Event, None, None]:
        """Yield the run's events; its stages run in a pool's workers."""


class Run(PipelineRun):
    """One run of a pipeline: each of its stages runs once, or is reused."""

    def _in_pool(self, pool: Pool) -> Generator[Event, None, None]:
        ledger = Ledger(self.pipeline.folder, self._stopping)
        ledger.open()
        try:
            with closing(ledger), closing(Roots(ledger.locks, self._stopping)) as roots:
                yield from self._recorded(ledger, roots, pool)
        except OSError as error:
            raise LorapipeError(problem_of(error, str(error.filename or ledger.root))) from None

    def _recorded(self, ledger: Ledger, roots: Roots, pool: Pool) -> Generator[Event, None, None]:
        """Yield the run's events and record them in `events.jsonl`, except for progress."""
        pipeline = self.pipeline
        destinations = Destinations(pipeline, ledger, ledger.digests.file)
        if problems := [*destinations.problems()]:
            raise InputError(problems)
        destinations.probe()
        began = time.time()
        self.number = number = ledger.records.begin(pipeline.name, ledger.next_run())
        folder = ledger.runs / str(number)
        make_folder(folder)
        status = "interrupted"
        try:
            run_files.note(folder, pipeline.name, began)
            with (folder / run_files.EVENTS).open("a", encoding="utf-8", errors="backslashreplace") as file:
                scheduler = Scheduler(pipeline, ledger, roots, pool, number, self._anew, self._stopping, destinations)
                self.artifacts = scheduler.artifacts
                with suppress(Interrupted):  # during planning
                    for event in _events(_planned(pipeline, ledger, roots, self._anew), ledger, scheduler):
                        _keep(event, file)
                        yield event
            if not self._stopping():
                status = "done" if len(self.artifacts) == len(pipeline.stages) else "failed"
        finally:
            with suppress(OSError):  # a second record, in case the ledger's is lost
                run_files.note(folder, pipeline.name, began, time.time(), status)
            sync_all([folder / run_files.EVENTS, folder / run_files.RUN])
            ledger.sync_pointers()
            ledger.digests.save()
            ledger.records.end(number, status)


def _planned(pipeline: Pipeline, ledger: Ledger, roots: Roots, anew: Set[str]) -> tuple[PlannedStage, ...]:
    """Return the plan, after its reused results were added to the GC roots of this run."""
    while True:
        stages = plan(pipeline, ledger, anew).stages
        if roots.add(each.identity.id for each in stages if each.result is not None and each.identity is not None):
            return stages


def _events(stages: Sequence[PlannedStage], ledger: Ledger, scheduler: Scheduler) -> Generator[Event, None, None]:
    for each in stages:
        yield Planned(each.name, each.action, each.reason)
    ledger.digests.save()
    with closing(scheduler):
        yield from scheduler.events(stages)


def _keep(event: Event, file: IO[str]) -> None:
    if not isinstance(event, Progress):
        file.write(to_json(event) + "\n")
        if not isinstance(event, (Planned, Reused)):  # thousands of these come at once, and another event follows
            file.flush()

"""Plan → artifacts, yielding events. Knows no stage by name.

    for event in run(Pipeline.load("cat.yaml")):
        print(event)

Stages that do not need each other run side by side, as many as there are slots. A stage that fails stops those that
need it and no others. What is yielded is also written to `runs/<n>/events.jsonl`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence, Set
from contextlib import closing, suppress
from typing import IO, Any

from lorapipe.errors import InputError, Interrupted, LorapipeError, Problem, problem_of
from lorapipe.fsync import make_folder, sync_all
from lorapipe.pipeline import run_files
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.destinations import Destinations
from lorapipe.pipeline.events import Event, Failed, Planned, Progress, Reused, to_json
from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.scheduler import Schedule
from lorapipe.pipeline.gc_roots import Roots
from lorapipe.pipeline.language import Pipeline
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.plan import Step, plan
from lorapipe.spec import from_dict

Run = Generator[Event, None, dict[str, Artifact]]
Stopping = Callable[[], int]
"""How urgently a run is asked to stop: 0 goes on, 1 when the running stages have saved what they need, 2 now."""


def go_on() -> int:
    """Never asks to stop."""
    return 0


def open_pool(on: object = "local", devices: Sequence[str] = ("auto",)) -> Pool:
    """The workers of a launcher, given as in a document: its name, or `{type: name, knob: value}`.

    None is started before it is needed. Raises `InputError`.
    """
    contract: Any = Launcher  # which is abstract: what is read is one of its implementations
    launcher: Launcher = from_dict(contract, on)
    return Pool(launcher.slots(devices))


def run(
    pipeline: Pipeline,
    *,
    on: object = "local",
    devices: Sequence[str] = ("auto",),
    pool: Pool | None = None,
    anew: Set[str] = frozenset(),
    stopping: Stopping = go_on,
    numbered: Callable[[int], None] | None = None,
) -> Run:
    """Run what has to be run, and yield events; the generator returns the artifacts by stage name.

    Stages in `anew` are made even where they have a result. `on` and `devices` say where (see `open_pool`); those workers
    end with the run. A `pool` given in their place stays warm for the next run. `stopping()` is asked often; `numbered` is
    told the run's number. Closing the generator ends what is running. `InputError` where the store or a place that a stage
    delivers to cannot be written, or a source not be read.
    """
    if pool is None:
        with closing(open_pool(on, devices)) as own:
            return (yield from run(pipeline, pool=own, anew=anew, stopping=stopping, numbered=numbered))
    ledger = Ledger(pipeline.folder, stopping)
    ledger.open()
    try:
        with closing(ledger), closing(Roots(ledger.locks, stopping)) as roots:
            return (yield from _recorded(pipeline, ledger, roots, pool, anew, stopping, numbered))
    except OSError as error:
        raise LorapipeError(problem_of(error, str(error.filename or ledger.root))) from None


def run_to_end(pipeline: Pipeline, on_event: Callable[[Event], None] | None, **where: Any) -> dict[str, Artifact]:
    """`Pipeline.run`: the artifacts by stage name, or a `LorapipeError` that says what failed."""
    failures = []
    events = run(pipeline, **where)
    try:
        while True:
            event = next(events)
            if isinstance(event, Failed) and event.cause != "cancelled":
                failures.append(Problem(event.message, where=event.stage, cure=event.hint))
            if on_event is not None:
                on_event(event)
    except StopIteration as end:
        artifacts: dict[str, Artifact] = end.value
    finally:
        events.close()
    if failures:
        raise LorapipeError(failures)
    return artifacts


def _recorded(
    pipeline: Pipeline,
    ledger: Ledger,
    roots: Roots,
    pool: Pool,
    anew: Set[str],
    stopping: Stopping,
    numbered: Callable[[int], None] | None,
) -> Run:
    """Yield the run's events and keep all but the progress."""
    destinations = Destinations(pipeline, ledger, ledger.digests.file)
    if problems := [*destinations.problems()]:
        raise InputError(problems)
    destinations.try_out()
    began = time.time()
    number = ledger.records.begin(pipeline.name, ledger.next_run())
    if numbered is not None:
        numbered(number)
    folder = ledger.runs / str(number)
    make_folder(folder)
    status = "interrupted"
    try:
        run_files.note(folder, pipeline.name, began)
        with (folder / run_files.EVENTS).open("a", encoding="utf-8", errors="backslashreplace") as file:
            schedule = Schedule(pipeline, ledger, roots, pool, number, anew, stopping, destinations)
            with suppress(Interrupted):  # while it was read what is there
                for event in _events(_planned(pipeline, ledger, roots, anew), ledger, schedule):
                    _keep(event, file)
                    yield event
        if not stopping():
            status = "done" if len(schedule.artifacts) == len(pipeline.stages) else "failed"
    finally:
        with suppress(OSError):  # a second record, should the first be lost
            run_files.note(folder, pipeline.name, began, time.time(), status)
        sync_all([folder / run_files.EVENTS, folder / run_files.RUN])
        ledger.sync_pointers()
        ledger.digests.save()
        ledger.records.end(number, status)
    return schedule.artifacts


def _planned(pipeline: Pipeline, ledger: Ledger, roots: Roots, anew: Set[str]) -> tuple[Step, ...]:
    """The steps, with those results that are reused among the roots of this run."""
    while True:
        steps = plan(pipeline, ledger, anew).steps
        if roots.add(step.identity.id for step in steps if step.result is not None and step.identity is not None):
            return steps


def _events(steps: Sequence[Step], ledger: Ledger, schedule: Schedule) -> Generator[Event, None, None]:
    for step in steps:
        yield Planned(step.name, step.action, step.reason)
    ledger.digests.save()
    with closing(schedule):
        yield from schedule.events(steps)


def _keep(event: Event, file: IO[str]) -> None:
    if not isinstance(event, Progress):
        file.write(to_json(event) + "\n")
        if not isinstance(event, (Planned, Reused)):  # these come by the thousand, and something always follows
            file.flush()

"""The execution of a job in a worker: resolve the stage's inputs, run it, restore the process's global state."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError, Interrupted, Unanswered
from lorapipe.library_imports import uncollected
from lorapipe.pipeline.artifact_json import decode, encode
from lorapipe.pipeline.context import Context, ModelCache
from lorapipe.pipeline.events import Event, Failed, Log, Progress, Started
from lorapipe.pipeline.execution.devices import record_holder, stage_locks, waiting_message
from lorapipe.pipeline.execution.job import Done, Job, failure
from lorapipe.pipeline.execution.process_state import restored
from lorapipe.pipeline.locks import Busy, holding
from lorapipe.pipeline.publication import begin
from lorapipe.pipeline.references import resolve
from lorapipe.spec import from_dict
from lorapipe.stages import Stage

PROGRESS_SECONDS = 0.1
"""Least time between two progress events: nobody reads faster, and a training may take a thousand steps a second."""


def perform(
    job: Job, emit: Callable[[Event], None], stopping: Callable[[], bool], model_cache: ModelCache
) -> Done | Failed:
    """Run the job's stage and return its outcome. Never raises."""
    try:
        return Done(_perform(job, emit, stopping, model_cache))
    except BaseException as error:
        import traceback

        with suppress(OSError):  # the log cannot be written on a full disk
            if isinstance(error, (InputError, Unanswered)):  # what a person is to do: no traceback
                print(error, file=sys.stderr)
            else:
                traceback.print_exc()
            sys.stderr.flush()
        return failure(job.name, error)


def _perform(
    job: Job, emit: Callable[[Event], None], stopping: Callable[[], bool], model_cache: ModelCache
) -> dict[str, object]:
    attempt, store = Path(job.attempt), Path(job.store)
    contract: Any = Stage
    spec: Stage = from_dict(contract, job.spec)  # before its inputs: this imports their classes
    stage = resolve(spec, {name: decode(dict(data), store) for name, data in job.inputs.items()})

    def wait(busy: Busy) -> None:
        if stopping():
            raise Interrupted("Stopped while waiting.")
        here = f"waits for {busy.who}, which is still making the same result"
        tell(Log(job.name, here if busy.path == Path(job.lock) else waiting_message(busy), "warning"))

    tell = _deduplicated(emit)
    with ExitStack() as held:
        held.enter_context(holding(Path(job.lock), wait))
        for lock in stage_locks(job.device, stage.trains) if job.takes_turns else ():
            held.enter_context(holding(lock, wait))
            record_holder(lock, f"{job.name} in {store.parent.parent}")
        begin(attempt)  # only under the lock: an orphan of an earlier run may have been writing there
        emit(Started(job.name, job.key))
        held.enter_context(_guarded(stage))
        context = Context(
            out=attempt / "out",
            resume=attempt / "resume",
            cache=Path(job.cache),
            emit=_logged(_throttled(emit)),
            stopping=stopping,
            device=job.device,
            model_cache=model_cache,
        )
        artifact = stage.run(context)
    if not isinstance(artifact, stage.makes):
        raise TypeError(f"stage {stage.name} returned {type(artifact).__name__}, not {stage.makes.__name__}")
    return encode(artifact, store, attempt)


def _guarded(stage: Stage) -> AbstractContextManager[None]:
    """Restore the process's global state once the stage is over.

    Import torch first if the stage will use it: the state of a module that is not imported cannot be saved.
    """
    if stage.needs_device:
        with suppress(ImportError), uncollected():
            importlib.import_module("torch")
    return restored()


def _deduplicated(emit: Callable[[Event], None]) -> Callable[[Event], None]:
    """Wrap `emit` so that equal events are emitted once."""
    told: set[str] = set()

    def tell(event: Event) -> None:
        if repr(event) not in told:
            told.add(repr(event))
            emit(event)

    return tell


def _logged(emit: Callable[[Event], None]) -> Callable[[Event], None]:
    """Wrap `emit` so that log lines are also written to the stage's log, which `lorapipe log` prints."""

    def tell(event: Event) -> None:
        if isinstance(event, Log):
            with suppress(OSError):  # the log cannot be written on a full disk
                print(event.text, flush=True)
        emit(event)

    return tell


def _throttled(emit: Callable[[Event], None]) -> Callable[[Event], None]:
    """Wrap `emit` so that progress events are dropped if they come faster than `PROGRESS_SECONDS`."""
    last = 0.0

    def tell(event: Event) -> None:
        nonlocal last
        if isinstance(event, Progress) and event.step < event.total:
            now = time.monotonic()
            if now - last < PROGRESS_SECONDS:
                return
            last = now
        emit(event)

    return tell

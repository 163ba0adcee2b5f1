"""Runs a graph's pipeline: the engine on a thread of ComfyUI, the stages in worker processes that stay warm for a while."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import InputError, LorapipeError, Problem
from lorapipe.pipeline import loader
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.events import Event, Failed, Log, Planned
from lorapipe.pipeline.execution.devices import parse_devices
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import open_pool
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.yaml_document import Document
from lorapipe.spec import Address, canonical, from_dict, to_dict
from lorapipe.supervised_thread import SupervisedThread

from .run_options import Running

NAME = "ComfyUI"
"""The name of a graph's pipeline in the history."""
IDLE_SECONDS = 60.0
"""How long workers wait for the next stage of a prompt."""


class GraphDocument(Document):
    """A document made from links: it has no lines, so messages locate values only by stage and knob."""

    def where(self, address: Address) -> str:
        """Return "": the knob's name follows."""
        return ""


def read_pipeline(stages: Mapping[str, object], folder: Path) -> Pipeline:
    """Return the pipeline of a graph's documents. `InputError` with all problems, as for a file."""
    document = GraphDocument(NAME, {"stages": dict(stages)}, {}, {NAME: ()})
    return loader.from_document(document, folder)


class Workers:
    """The worker pool of this ComfyUI, used by one run at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._kind = b""
        self._timer: threading.Timer | None = None
        self._waiting = 0

    def take(self, running: Running, waiting: Callable[[], bool]) -> Pool | None:
        """Wait for the pool and return it; None if `waiting()` turns false. Call `give_back` afterwards."""
        self._waiting += 1
        try:
            while not self._lock.acquire(timeout=0.1):
                if not waiting():
                    return None
        finally:
            self._waiting -= 1
        try:
            if self._timer is not None:
                self._timer.cancel()
            kind = canonical([to_dict(running.launcher), running.device])
            if self._pool is None or kind != self._kind:
                self._end()
                self._pool, self._kind = open_pool(to_dict(running.launcher), parse_devices(running.device)), kind
            return self._pool
        except BaseException:
            self._lock.release()
            raise

    def give_back(self, keep: bool) -> None:
        """Release the pool. Its workers end at once, or, with `keep` or if another run waits, after `IDLE_SECONDS`."""
        try:
            if not (keep or self._waiting):
                self._end()
            else:
                self._timer = threading.Timer(IDLE_SECONDS, self._end_idle)
                self._timer.daemon = True
                self._timer.start()
        finally:
            self._lock.release()

    def _end_idle(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._lock.release()

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


class GraphRun:
    """A pipeline that runs on a thread. `events` is the queue of its events; `stop` ends it, a second call at once."""

    def __init__(
        self, pipeline: Pipeline, running: Running, workers: Workers, *, keep: bool, make_room: Callable[[], None]
    ) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._pipeline, self._running, self._workers = pipeline, running, workers
        self._keep, self._make_room = keep, make_room
        self._level, self._has_waited = 0, False
        self._artifacts: dict[str, Artifact] = {}
        self._failed: list[Failed] = []
        self.tuned_stages: dict[str, dict[str, object]] = {}
        """The stages with the best settings, after a tuning."""
        self.tuned_files: tuple[Path, ...] = ()
        self._thread = SupervisedThread("lorapipe", self._work)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ask the run to end: the first call after the stage has saved its state, the second at once."""
        self._level = min(self._level + 1, 2)

    def artifacts(self) -> dict[str, Artifact]:
        """Return the artifacts by stage name. Raises the error that ended the run."""
        if self._thread.error is not None:
            raise self._thread.error
        if self._failed:
            first = self._failed[0]
            what = first.message if first.message.endswith((".", "!", "?", ":")) else f"{first.message}."
            problem = Problem(what, first.stage, first.hint)
            raise InputError(problem) if first.cause == "input" else LorapipeError(problem)
        return self._artifacts

    def _work(self) -> None:
        """Run the pipeline. `artifacts` raises its exceptions again."""
        pool = self._workers.take(self._running, self._waits)
        if pool is None:
            return
        is_well = False
        try:
            self._run(pool)
            is_well = not (self._level or self._failed)
        finally:
            self._workers.give_back(self._keep and is_well)

    def _waits(self) -> bool:
        """Report the wait, once; return whether to go on waiting."""
        if not self._has_waited:
            self.events.put(Log(text="waits for another lorapipe node", level="warning"))
        self._has_waited = True
        return not self._level

    def _run(self, pool: Pool) -> None:
        from lorapipe.tuning.run_class import run_class

        with run_class(self._pipeline)(self._pipeline, pool=pool, stopping=lambda: self._level) as run:
            self._failed = run.failures
            for event in run:
                if (
                    isinstance(event, Planned)
                    and event.action == "run"
                    and self._pipeline.stages[event.stage].needs_device
                ):
                    with suppress(Exception):
                        self._make_room()
                self.events.put(event)
            self._artifacts = run.artifacts
            self._note_tuning(run)

    def _note_tuning(self, run: object) -> None:
        """Keep the stages and files of a tuning that has come to its end."""
        from lorapipe.tuning.rounds import pipeline_of
        from lorapipe.tuning.tuned_files import places
        from lorapipe.tuning.tuner import Tuning

        if isinstance(run, Tuning) and run.tuned.end is not None:
            final = pipeline_of(run.tuned, run.tuned.best.change)
            self.tuned_stages = {name: to_dict(stage) for name, stage in final.stages.items()}
            self.tuned_files = places(run.tuned.pipeline)


def read_running(document: Mapping[str, object]) -> Running:
    """Parse the run options of a document."""
    return from_dict(Running, dict(document))

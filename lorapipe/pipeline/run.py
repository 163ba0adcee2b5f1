"""Plan → artifacts, yielding events. Knows no stage by name.

    for event in run(Pipeline.load("cat.yaml")):
        print(event)

A stage that fails stops those that need it and no others. What is yielded is also written to `runs/<n>/events.jsonl`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import IO

from lorapipe.errors import Interrupted, LorapipeError
from lorapipe.pipeline import references
from lorapipe.pipeline.artifacts import Artifact, encode, to_open
from lorapipe.pipeline.events import Event, Failed, Finished, Log, Planned, Progress, Reused, Started, to_json
from lorapipe.pipeline.job import Job, failure
from lorapipe.pipeline.keys import Identity
from lorapipe.pipeline.language import Pipeline
from lorapipe.pipeline.ledger import Ledger, Result
from lorapipe.pipeline.locks import Busy, take
from lorapipe.pipeline.plan import Step, decide, plan
from lorapipe.pipeline.workers import Inline, Process, Worker
from lorapipe.spec import to_dict
from lorapipe.stages import Stage

LOCK_SECONDS = 0.2
Run = Generator[Event, None, dict[str, Artifact]]


def run(
    pipeline: Pipeline,
    *,
    device: str = "auto",
    inline: bool = False,
    stopping: Callable[[], int] = lambda: 0,
) -> Run:
    """Run what has to be run, and yield events; the generator returns the artifacts by stage name.

    `stopping()` is asked often: 0 goes on, 1 stops when the running stage has saved what it needs to go on, 2 stops
    now. Closing the generator ends the worker. `InputError` where the store cannot be written or a source not be read.
    """
    ledger = Ledger(pipeline.folder)
    ledger.open()
    worker = Inline() if inline else Process()
    with closing(ledger), closing(worker):
        return (yield from _Runner(pipeline, ledger, device, worker, stopping).events())


class _Runner:
    """One run of one pipeline."""

    def __init__(
        self, pipeline: Pipeline, ledger: Ledger, device: str, worker: Worker, stopping: Callable[[], int]
    ) -> None:
        self.pipeline = pipeline
        self.ledger = ledger
        self.device = device
        self.worker = worker
        self.stopping = stopping
        self.artifacts: dict[str, Artifact] = {}
        self.number = 0

    def events(self) -> Run:
        """Yield the run's events and keep all but the progress."""
        self.number = self.ledger.records.begin(self.pipeline.name)
        folder = self.ledger.runs / str(self.number)
        folder.mkdir(parents=True, exist_ok=True)
        status = "interrupted"
        try:
            with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
                for event in self._events():
                    _keep(event, file)
                    yield event
            status = "interrupted" if self.stopping() else "done"
            if len(self.artifacts) < len(self.pipeline.stages) and status == "done":
                status = "failed"
        finally:
            self.ledger.records.end(self.number, status)
        return self.artifacts

    def _events(self) -> Generator[Event, None, None]:
        planned = {step.name: step for step in plan(self.pipeline, self.ledger).steps}
        for step in planned.values():
            yield Planned(step.name, step.action, step.reason)
        self.ledger.digests.save()
        for name, stage in self.pipeline.stages.items():
            if self.stopping():
                return
            missing = [need for need in references.needs(stage) if need not in self.artifacts]
            if missing:
                yield Failed(name, "cancelled", f"not run, because it needs {' and '.join(missing)}")
                continue
            try:
                yield from self._stage(name, stage, planned[name])
            except (LorapipeError, OSError) as error:
                yield failure(name, error)

    def _stage(self, name: str, spec: Stage, step: Step) -> Generator[Event, None, None]:
        """Run or reuse one stage, as planned, or as is decided now that its inputs are there."""
        stage = references.resolve(spec, self.artifacts)
        if step.identity is None:
            step = decide(self.pipeline, name, stage, self.ledger)
            yield Planned(name, step.action, step.reason)
        if step.result is not None:
            yield self._reused(name, stage, step.result)
            return
        identity = step.identity
        assert identity is not None
        with closing((yield from self._lock(name, identity))):
            found = self.ledger.result(identity.key)  # another run may have made it meanwhile
            if isinstance(found, Result):
                yield self._reused(name, stage, found)
                return
            yield from self._run(name, spec, stage, identity)

    def _lock(self, name: str, identity: Identity) -> Generator[Event, None, IO[bytes]]:
        """Take the lock of a key; a second run of the same thing waits here and then reuses."""
        told = False
        while True:
            try:
                return take(self.ledger.locks / f"{identity.id}.lock")
            except Busy as busy:
                if not told:
                    yield Log(name, f"waits for process {busy.holder}, which makes the same result", "warning")
                    told = True
            if self.stopping():
                raise Interrupted("stopped while another run made the same result")
            time.sleep(LOCK_SECONDS)

    def _run(self, name: str, spec: Stage, stage: Stage, identity: Identity) -> Generator[Event, None, None]:
        began = time.time()
        yield Started(name, identity.key)
        attempt = self.ledger.attempt(identity.key)
        inputs = {need: encode(self.artifacts[need], self.ledger.store) for need in references.needs(spec)}
        job = Job(
            name=name,
            spec=to_dict(spec),
            inputs=inputs,
            attempt=str(attempt),
            store=str(self.ledger.store),
            cache=str(self.ledger.cache),
            locks=self._locks(identity),
            device=self.device,
        )
        outcome = yield from self.worker.run(job, self.stopping)
        if isinstance(outcome, Failed):
            if outcome.cause != "input":
                self.worker.close()  # what a failure has left in memory is not to be trusted
            log = f"Its log: {attempt / 'log.txt'}" if outcome.cause in ("error", "oom", "lost") else ""
            yield replace(outcome, hint=f"{outcome.hint} {log}".strip())
            return
        about = {"pipeline": self.pipeline.name, "stage": name, "type": stage.name, "started": began}
        result = self.ledger.publish(identity, outcome, about)
        files = self._use(name, stage, result, "run")
        yield Finished(name, identity.key, time.time() - began, files)

    def _locks(self, identity: Identity) -> tuple[str, ...]:
        device = self.device.replace(":", "-")
        names = (f"{identity.id}.attempt", f"device-{device}.lock")
        return tuple(str(self.ledger.locks / name) for name in names)

    def _reused(self, name: str, stage: Stage, result: Result) -> Reused:
        return Reused(name, result.key, self._use(name, stage, result, "reuse"))

    def _use(self, name: str, stage: Stage, result: Result, action: str) -> tuple[str, ...]:
        """Hand a result to those who need it, deliver it, and say what a person may open."""
        delivered = stage.deliver(result.artifact)
        self.artifacts[name] = result.artifact
        self.ledger.records.use(self.number, self.pipeline.name, name, stage.name, result.key, action, time.time())
        shown = self.ledger.point(name, result)
        out = result.folder / "out"
        files = [shown / path.relative_to(out) for path in to_open(result.artifact) if path.is_relative_to(out)]
        return tuple(str(path) for path in delivered or files)


def _keep(event: Event, file: IO[str]) -> None:
    if not isinstance(event, Progress):
        file.write(to_json(event) + "\n")
        file.flush()

"""Hooks around the run of a job: before it, for its log, after it. Here for ordinary pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lorapipe.job_queue.job import QueueJob
from lorapipe.pipeline import loader
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.events import Event
from lorapipe.pipeline.pipeline import Pipeline


class JobHooks:
    """The hooks of an ordinary pipeline; where jobs come from elsewhere, their hooks are a subclass."""

    def objection(self, job: QueueJob) -> str:
        """What the job has to wait for, in words; empty where it may begin. Asked often."""
        return ""

    def open(self, job: QueueJob) -> Pipeline:
        """The pipeline to run. Raises `LorapipeError` or `OSError` with why there is none."""
        return loader.load(Path(job.pipeline), job.sets)

    def note(self, job: QueueJob, event: Event) -> None:
        """The job's run has told something."""

    def deliver(self, job: QueueJob, artifacts: Mapping[str, Artifact]) -> None:
        """All stages are done: put what they made where its user looks. Raises as `open`."""

    def ended(self, job: QueueJob) -> None:
        """The job has ended: done, failed, cancelled or aside."""

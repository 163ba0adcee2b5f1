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
        """Why the job cannot begin yet, in words; empty if it can. Called often."""
        return ""

    def open(self, job: QueueJob) -> Pipeline:
        """The pipeline to run. Raises `LorapipeError` or `OSError` if there is none."""
        return loader.load(Path(job.pipeline), job.sets)

    def note(self, job: QueueJob, event: Event) -> None:
        """Called with every event of the job's run."""

    def deliver(self, job: QueueJob, artifacts: Mapping[str, Artifact]) -> None:
        """Called when all stages are done: copy their results to where the user looks. Raises as `open`."""

    def ended(self, job: QueueJob) -> None:
        """Called when the job has ended: done, failed, cancelled or aside."""

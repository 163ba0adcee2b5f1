"""Hooks before, during and after the run of a job; here for ordinary pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lorapipe.job_queue.job import QueueJob
from lorapipe.pipeline import loader
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.events import Event
from lorapipe.pipeline.pipeline import Pipeline


class JobHooks:
    """The hooks of an ordinary pipeline; jobs from other sources have a subclass."""

    def objection(self, job: QueueJob) -> str:
        """Return why the job cannot begin yet, as text; empty if it can. Called often."""
        return ""

    def open(self, job: QueueJob) -> Pipeline:
        """Return the pipeline to run. Raises `LorapipeError` or `OSError` if there is none."""
        return loader.load(Path(job.pipeline), job.sets)

    def note(self, job: QueueJob, event: Event) -> None:
        """Handle an event of the job's run."""

    def deliver(self, job: QueueJob, artifacts: Mapping[str, Artifact]) -> None:
        """Deliver the results after all stages are done. Raises the same errors as `open`."""

    def ended(self, job: QueueJob) -> None:
        """Handle the end of the job: done, failed, cancelled or aside."""

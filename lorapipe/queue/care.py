"""What is done around the run of a job: before it, for its log, after it. Here for ordinary pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.events import Event
from lorapipe.pipeline.language import Pipeline
from lorapipe.queue.job import Job


class Care:
    """The care that an ordinary pipeline needs; where jobs come from elsewhere, their care is a subclass."""

    def objection(self, job: Job) -> str:
        """What the job has to wait for, in words; empty where it may begin. Asked often."""
        return ""

    def open(self, job: Job) -> Pipeline:
        """The pipeline to run. Raises `LorapipeError` or `OSError` with why there is none."""
        return Pipeline.load(Path(job.pipeline), job.sets)

    def note(self, job: Job, event: Event) -> None:
        """The job's run has told something."""

    def deliver(self, job: Job, artifacts: Mapping[str, Artifact]) -> None:
        """All stages are done: put what they made where its user looks. Raises as `open`."""

    def ended(self, job: Job) -> None:
        """The job has ended: done, failed, cancelled or aside."""

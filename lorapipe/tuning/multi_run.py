"""A pipeline that is run several times with other settings, as one stream of events."""

from __future__ import annotations

from collections.abc import Generator

from lorapipe.pipeline.events import Event
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import PipelineRun, Run
from lorapipe.pipeline.pipeline import Pipeline


class MultiRun(PipelineRun):
    """Several runs, one after the other, in one pool. A subclass implements `_in_pool` with `_run`.

    `number` and `artifacts` are of the present run; stages in `anew` run again in the first one only.
    """

    def _run(self, pipeline: Pipeline, pool: Pool) -> Generator[Event, None, bool]:
        """Run a pipeline to its end, and return whether it got there."""
        anew, self._anew = self._anew & {*pipeline.stages}, frozenset()
        with Run(pipeline, pool=pool, anew=anew, stopping=self._stopping) as run:
            for event in run:
                self.number = run.number
                yield event
        self.artifacts = run.artifacts
        return not run.failures and not self._stopping() and len(run.artifacts) == len(pipeline.stages)

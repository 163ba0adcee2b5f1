"""Tunes a pipeline: runs it, changes what its verdict says, and runs it again, as one stream of events.

    for event in Tuning(load("penny.yaml")):
        print(event)

Each round is a run of the same pipeline, up to the stages that judge the training; the last is one of the whole pipeline
with the best round's settings. What a round has in common with an earlier one is found in the store, the base stays in the
warm worker, and a tuning that was killed finds its own rounds there and goes on.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lorapipe.pipeline.events import Event, Log
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.ledger import Ledger
from lorapipe.tuning import tuned_files
from lorapipe.tuning.multi_run import MultiRun
from lorapipe.tuning.rounds import begun, change_text, end_text, next_of, pipeline_of, seconds_of, with_round
from lorapipe.tuning.search import Change, End

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline


class Tuning(MultiRun):
    """The rounds of a tuning.

    The page is written after every round, the pipeline to keep at the end. Raises `InputError` if there is nothing to tune.
    At the end, `artifacts` are those of the whole pipeline with the best round's settings.
    """

    def __init__(self, pipeline: Pipeline, **how: Any) -> None:
        self.tuned = begun(pipeline)
        tuned_files.require_free(pipeline)
        super().__init__(pipeline, **how)

    def _in_pool(self, pool: Pool) -> Generator[Event, None, None]:
        stage = self.tuned.of.stage
        found: Change | End | None = None
        while not isinstance(found, End):
            if not (yield from self._round(found, pool)):
                return
            found = next_of(self.tuned)
            if isinstance(found, Change):
                yield Log(stage, text=change_text(self.tuned.rounds, found), level="warning")
        self.tuned = replace(self.tuned, end=found)
        yield Log(stage, text=end_text(self.tuned), level="warning")
        if (yield from self._run(pipeline_of(self.tuned, self.tuned.best.change), pool)):
            yield from (Log(stage, text=f"written: {path}", level="warning") for path in tuned_files.write(self.tuned))

    def _round(self, change: Change | None, pool: Pool) -> Generator[Event, None, bool]:
        """Run a round up to its judges, and note what they say; whether it was completed."""
        settings = self.tuned.settings(change)
        pipeline = pipeline_of(self.tuned, settings).with_needs(self.tuned.of.judges)
        if not (yield from self._run(pipeline, pool)):
            return False
        with closing(Ledger(pipeline.folder)) as ledger:
            seconds = seconds_of(pipeline, self.tuned.of, ledger)
        self.tuned = with_round(self.tuned, change, pipeline, self.artifacts, seconds)
        tuned_files.write_page(self.tuned)
        return True

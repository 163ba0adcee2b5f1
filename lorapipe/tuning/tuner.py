"""Tunes a pipeline: runs it, changes what its verdict says, and runs it again, as one stream of events.

    for event in Tuning(load("penny.yaml")):
        print(event)

Each round is a run of the same pipeline, up to the stages that judge the training; the last is one of the whole pipeline
with the best round's settings. What a round has in common with an earlier one is found in the store, the base stays in the
warm worker, and a tuning that was killed finds its own rounds there and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lorapipe.errors import LorapipeError, Problem
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.events import Event, Failed, Log
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import Run, StopLevel, never_stop, open_pool
from lorapipe.pipeline.ledger import Ledger
from lorapipe.tuning import tuned_files
from lorapipe.tuning.rounds import begun, change_text, end_text, next_of, pipeline_of, seconds_of, with_round
from lorapipe.tuning.search import Change, End

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline


class Tuning(Iterator[Event]):
    """The rounds of a tuning, which advance while somebody iterates over their events; used as `Run` is.

    `on`, `devices`, `pool`, `anew` and `stopping` are those of `Run`; stages in `anew` run again in the first round only.
    The page is written after every round, the pipeline to keep at the end. Raises `InputError` if there is nothing to
    tune; iterating raises what `Run` does.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        on: object = "local",
        devices: Sequence[str] = ("auto",),
        pool: Pool | None = None,
        anew: Set[str] = frozenset(),
        stopping: StopLevel = never_stop,
    ) -> None:
        self.pipeline = pipeline
        self.tuned = begun(pipeline)
        tuned_files.require_free(pipeline)
        self.number: int | None = None
        """The number of the present round's run in the history; None before the first event."""
        self.artifacts: dict[str, Artifact] = {}
        """The artifacts of the last run: at the end, of the whole pipeline with the best round's settings."""
        self.failures: list[Failed] = []
        """The stages that failed."""
        self._anew, self._stopping = anew, stopping
        self._events = self._in_own_pool(on, devices) if pool is None else self._in_pool(pool)

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill the running stages and end the tuning."""
        self._events.close()

    def finish(self, on_event: Callable[[Event], None] | None = None) -> dict[str, Artifact]:
        """Tune to the end, call `on_event` with every event, and return the artifacts of the best round's pipeline.

        Raises `LorapipeError` with all failures.
        """
        with self:
            for event in self:
                if on_event is not None:
                    on_event(event)
        if self.failures:
            raise LorapipeError([Problem(each.message, where=each.stage, cure=each.hint) for each in self.failures])
        return self.artifacts

    def _in_own_pool(self, on: object, devices: Sequence[str]) -> Generator[Event, None, None]:
        with closing(open_pool(on, devices)) as pool:
            yield from self._in_pool(pool)

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
        if (yield from self._run(pipeline_of(self.tuned, self.tuned.best.change), pool, frozenset())):
            yield from (Log(stage, text=f"written: {path}", level="warning") for path in tuned_files.write(self.tuned))

    def _round(self, change: Change | None, pool: Pool) -> Generator[Event, None, bool]:
        """Run a round up to its judges, and note what they say; whether it was completed."""
        settings = self.tuned.settings(change)
        pipeline = pipeline_of(self.tuned, settings).with_needs(self.tuned.of.judges)
        if not (yield from self._run(pipeline, pool, self._anew if change is None else frozenset())):
            return False
        with closing(Ledger(pipeline.folder)) as ledger:
            seconds = seconds_of(pipeline, self.tuned.of, ledger)
        self.tuned = with_round(self.tuned, change, pipeline, self.artifacts, seconds)
        tuned_files.write_page(self.tuned)
        return True

    def _run(self, pipeline: Pipeline, pool: Pool, anew: Set[str]) -> Generator[Event, None, bool]:
        """Run a pipeline to its end; whether it got there."""
        with Run(pipeline, pool=pool, anew=anew & {*pipeline.stages}, stopping=self._stopping) as run:
            for event in run:
                self.number = run.number
                yield event
        self.failures += run.failures
        self.artifacts = run.artifacts
        return not run.failures and not self._stopping() and len(run.artifacts) == len(pipeline.stages)

"""A pipeline that is run several times with other settings, as one stream of events."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lorapipe.errors import LorapipeError, Problem
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.events import Event, Failed
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import Run, StopLevel, never_stop, open_pool

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline


class MultiRun(Iterator[Event]):
    """The rounds of a pipeline, which advance while somebody iterates over their events; used as `Run` is.

    `on`, `devices`, `pool`, `anew` and `stopping` are those of `Run`; stages in `anew` run again in the first round only.
    Iterating raises what `Run` does. A subclass implements `_rounds`.
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
        self.number: int | None = None
        """The number of the present round's run in the history; None before the first event."""
        self.artifacts: dict[str, Artifact] = {}
        """The artifacts of the present round."""
        self.failures: list[Failed] = []
        """The stages that failed."""
        self._anew, self._stopping = anew, stopping
        self._events = self._in_own_pool(on, devices) if pool is None else self._rounds(pool)

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill the running stages and end the run."""
        self._events.close()

    def finish(self, on_event: Callable[[Event], None] | None = None) -> dict[str, Artifact]:
        """Run to the end, call `on_event` with every event, and return the artifacts of the last round.

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
            yield from self._rounds(pool)

    @abstractmethod
    def _rounds(self, pool: Pool) -> Generator[Event, None, None]:
        """Run all rounds; after one that was not completed, no more."""

    def _run(self, pipeline: Pipeline, pool: Pool) -> Generator[Event, None, bool]:
        """Run a pipeline to its end; whether it got there."""
        anew, self._anew = self._anew & {*pipeline.stages}, frozenset()
        with Run(pipeline, pool=pool, anew=anew, stopping=self._stopping) as run:
            for event in run:
                self.number = run.number
                yield event
        self.failures += run.failures
        self.artifacts = run.artifacts
        return not run.failures and not self._stopping() and len(run.artifacts) == len(pipeline.stages)

"""The state of a run: its events, folded one by one. Whatever shows a run, live or afterwards, asks here.

    state = RunState()
    for event in events:
        state.apply(event)
    state.stages["penny"].state

In words, an event is `event_text.words(event)`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Self

from lorapipe.pipeline.events import Event, Failed, Finished, Log, Metric, Planned, Progress, Reused, Started

State = Literal["waiting", "running", "finished", "reused", "failed", "cancelled"]
ENDS: frozenset[State] = frozenset({"finished", "reused", "failed", "cancelled"})
MOST_LOGS = 1000
"""Lines of the log that are kept, the last ones."""


@dataclass
class StageState:
    """One stage of a run: why it runs, where it is, how it ended and what it left."""

    name: str
    reason: str = ""
    state: State = "waiting"
    key: str = ""
    seconds: float | None = None
    message: str = ""
    hint: str = ""
    files: tuple[str, ...] = ()
    progress: Progress | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """The last value of each."""

    @property
    def end(self) -> str:
        """How it ended: finished, reused, failed or cancelled; empty where it has not, or the run ended before it did."""
        return self.state if self.state in ENDS else ""

    def apply(self, event: Event) -> None:
        """Take in one event of this stage."""
        match event:
            case Planned():
                self.reason = event.reason
            case Started():
                self.state, self.key = "running", event.key
            case Progress():
                self.progress = event
            case Metric():
                self.metrics.update(event.values)
            case Reused():
                self.state, self.key, self.files = "reused", event.key, event.files
            case Finished():
                self.state, self.key, self.files, self.seconds = "finished", event.key, event.files, event.seconds
            case Failed():
                self.state = "cancelled" if event.cause == "cancelled" else "failed"
                self.message, self.hint = event.message, event.hint


@dataclass
class RunState:
    """A run so far. `stages` are in the order in which they were first heard of; `files`, in the order of their making."""

    stages: dict[str, StageState] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    """What a user may open, of all stages."""
    logs: deque[Log] = field(default_factory=lambda: deque(maxlen=MOST_LOGS))

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """The state after these events."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Take in one event."""
        if event.stage:
            self.stages.setdefault(event.stage, StageState(event.stage)).apply(event)
        match event:
            case Finished() | Reused():
                self.files += event.files
            case Log():
                self.logs.append(event)

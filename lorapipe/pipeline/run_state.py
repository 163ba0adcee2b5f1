"""The state of a run, folded from its events; used by all displays of runs, live or afterwards.

    state = RunState()
    for event in events:
        state.apply(event)
    state.stages["penny"].state

`event_text.words(event)` gives the text of an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Self

from lorapipe.pipeline.events import Asked, Event, Failed, Finished, Log, Metric, Planned, Progress, Reused, Started

State = Literal["waiting", "running", "finished", "reused", "failed", "cancelled"]
ENDS: frozenset[State] = frozenset({"finished", "reused", "failed", "cancelled"})
MOST_LOGS = 1000
"""Most log lines that are kept."""


@dataclass
class StageState:
    """The state of one stage: why it runs, its progress, how it ended and its files."""

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
    """The last value of each metric."""

    @property
    def end(self) -> str:
        """The final state: finished, reused, failed or cancelled; empty if the stage has not ended."""
        return self.state if self.state in ENDS else ""

    def apply(self, event: Event) -> None:
        """Apply an event of this stage."""
        match event:
            case Planned():
                self.reason = event.reason
            case Started():
                self.state, self.key, self.message, self.hint = "running", event.key, "", ""
            case Progress():
                self.progress = event
            case Metric():
                self.metrics.update(event.values)
            case Asked():
                self.state, self.message, self.hint = "waiting", event.text, f"It waits for {event.answer}"
            case Reused():
                self.state, self.key, self.files = "reused", event.key, event.files
            case Finished():
                self.state, self.key, self.files, self.seconds = "finished", event.key, event.files, event.seconds
            case Failed():
                self.state = "cancelled" if event.cause == "cancelled" else "failed"
                self.message, self.hint = event.message, event.hint


@dataclass
class RunState:
    """The state of a run. `stages` are in the order of their first events, `files` in the order in which they were made."""

    stages: dict[str, StageState] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    """Files of all stages that a user may open."""
    logs: deque[Log] = field(default_factory=lambda: deque(maxlen=MOST_LOGS))

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """Return the state after these events."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Apply an event."""
        if event.stage:
            self.stages.setdefault(event.stage, StageState(event.stage)).apply(event)
        match event:
            case Finished() | Reused():
                self.files += event.files
            case Log():
                self.logs.append(event)

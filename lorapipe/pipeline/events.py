"""What a run tells: one frozen dataclass for each kind of event, one JSON object a line on the wire.

Stages and the training loop make `Progress`, `Metric`, `Preview` and `Log`; the runner makes the others. The terminal,
the history, `on_event=`, ComfyUI and the watch page are all readers of this one stream.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

VERSION = 1
"""The version of the event format; it rises when a reader must change."""


@dataclass(frozen=True)
class Event:
    """Base: `stage` is the stage's name in the pipeline, filled in by the runner for what stages emit."""

    stage: str = ""


@dataclass(frozen=True)
class Planned(Event):
    """What will happen to a stage and why: `penny  run  adapter.rank 8 → 16`."""

    action: Literal["run", "reuse"] = "run"
    reason: str = ""


@dataclass(frozen=True)
class Started(Event):
    """A worker has taken up the stage."""

    key: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """`step` of `total`; `values` are what a progress bar shows beside it (loss, lr, s/it …), in order."""

    step: int = 0
    total: int = 0
    unit: str = "steps"
    seconds_left: float | None = None
    values: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Metric(Event):
    """Numbers at a step, for curves: `{"loss": 0.11, "lr/unet": 1e-4}`."""

    step: int = 0
    values: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Preview(Event):
    """A picture worth a look while the stage goes on."""

    path: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Log(Event):
    """A line for the log; `warning` lines are shown to the user too."""

    text: str = ""
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Reused(Event):
    """The stage's result was there already; `files` as in `Finished`."""

    key: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished(Event):
    """The stage's result is published; `files` are what a user may open."""

    key: str = ""
    seconds: float = 0.0
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed(Event):
    """The stage has no result. `cause` is the class of failure, `hint` what to do."""

    cause: Literal["oom", "error", "timeout", "lost", "cancelled", "input"] = "error"
    message: str = ""
    hint: str = ""


KINDS: dict[str, type[Event]] = {
    cls.__name__.lower(): cls for cls in (Planned, Started, Progress, Metric, Preview, Log, Reused, Finished, Failed)
}


_to_json = json.JSONEncoder(ensure_ascii=False).encode


def to_json(event: Event) -> str:
    """One line of JSON for an event."""
    kind = type(event).__name__.lower()
    return _to_json({"v": VERSION, "event": kind, **vars(event)})


def from_json(line: str) -> Event:
    """The event of one line; unknown fields of a later version are ignored."""
    data: dict[str, Any] = json.loads(line)
    cls = KINDS[data["event"]]
    names = {field.name for field in dataclasses.fields(cls)}
    known = {key: value for key, value in data.items() if key in names}
    if "files" in known:
        known["files"] = tuple(known["files"])
    return cls(**known)


def readable(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a run's `events.jsonl`, without lines cut short by a kill, or told by a later version."""
    for line in lines:
        try:
            yield from_json(line)
        except (ValueError, KeyError, TypeError):
            continue

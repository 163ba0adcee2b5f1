"""What a run tells: one frozen dataclass for each kind of event, one JSON object a line on the wire.

Stages and the training loop make `Progress`, `Metric`, `Preview` and `Log`; the runner makes the others. The terminal,
the history, `on_event=`, ComfyUI and the watch page are all readers of this one stream.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from lorapipe.errors import shortened
from lorapipe.spec import JsonDocument, Param

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
    "planned": Planned,
    "started": Started,
    "progress": Progress,
    "metric": Metric,
    "preview": Preview,
    "log": Log,
    "reused": Reused,
    "finished": Finished,
    "failed": Failed,
}
"""Every kind of event by its name on the wire and in stored runs."""
NAMES = {cls: name for name, cls in KINDS.items()}


class EventLine(TypedDict):
    """A line of a run's `events.jsonl`, and of `lorapipe run --json`: what `event` says has happened."""

    v: NotRequired[Annotated[int, Param("the version of the format")]]
    event: Annotated[str, Param("what has happened")]


DOCUMENT = JsonDocument("event", EventLine, "The line is passed over.", tag="event", variants=KINDS)

_to_json = json.JSONEncoder(ensure_ascii=False).encode


def to_json(event: Event) -> str:
    """One line of JSON for an event."""
    return _to_json({"v": VERSION, "event": NAMES[type(event)], **vars(event)})


def from_json(line: str) -> Event:
    """The event of one line; unknown fields of a later version are ignored. `ValueError` where it is none."""
    data = json.loads(line)
    if not DOCUMENT.fits(data):
        raise ValueError(f"{shortened(line, 200)!r} is no event")
    kind: str = data["event"]
    known = ((name, data[name]) for name in _names(kind) if name in data)
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known}
    return KINDS[kind](**fields)


@cache
def _names(kind: str) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(KINDS[kind]))


def readable(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a run's `events.jsonl`, without lines cut short by a kill, or told by a later version."""
    for line in lines:
        try:
            yield from_json(line)
        except (ValueError, RecursionError):
            continue

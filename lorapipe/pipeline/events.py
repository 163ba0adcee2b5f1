"""The events of a run: a frozen dataclass for each kind, serialised as one JSON object per line.

Stages and the training loop emit `Progress`, `Metric`, `Preview` and `Log`; the runner emits the others. The terminal, the
history, `on_event=`, ComfyUI and the page all read this stream.
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
"""The version of the event format; bump when readers must change."""
METRICS = "metrics.jsonl"
"""The file of a training's metrics, a line for each step: in its result and, while it trains, in its resume folder."""


@dataclass(frozen=True)
class Event:
    """Base class: `stage` is the stage's name in the pipeline; the runner sets it for events that stages emit."""

    stage: str = ""


@dataclass(frozen=True)
class Planned(Event):
    """The planned action of a stage, and the reason: `penny  run  adapter.rank 8 → 16`."""

    action: Literal["run", "reuse"] = "run"
    reason: str = ""


@dataclass(frozen=True)
class Started(Event):
    """A worker has started the stage."""

    key: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """`step` of `total`; `values` are shown beside a progress bar (loss, lr, s/it …), in order."""

    step: int = 0
    total: int = 0
    unit: str = "steps"
    seconds_left: float | None = None
    values: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Metric(Event):
    """Metrics after a step: `{"loss": 0.11, "lr/unet": 1e-4}`."""

    step: int = 0
    values: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Preview(Event):
    """A preview picture of a running stage."""

    path: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Log(Event):
    """A line for the log; `warning` lines are shown to the user too."""

    text: str = ""
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Asked(Event):
    """The stage waits for a person's answer, without a device. `question` is a JSON file that says what is asked; the answer
    is written into the file `answer`.
    """

    text: str = ""
    question: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Reused(Event):
    """The stage's result existed already; `files` as in `Finished`."""

    key: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished(Event):
    """The stage's result is published; `files` are those that a user may open."""

    key: str = ""
    seconds: float = 0.0
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed(Event):
    """The stage has no result. `cause` is the kind of failure, `hint` what to do.

    `waiting` is between worker and driver alone: the stage needs an answer, in the file that `hint` names.
    """

    cause: Literal["oom", "error", "timeout", "lost", "cancelled", "input", "waiting"] = "error"
    message: str = ""
    hint: str = ""


KINDS: dict[str, type[Event]] = {
    "planned": Planned,
    "started": Started,
    "progress": Progress,
    "metric": Metric,
    "preview": Preview,
    "log": Log,
    "asked": Asked,
    "reused": Reused,
    "finished": Finished,
    "failed": Failed,
}
"""Every kind of event by its name in JSON."""
NAMES = {cls: name for name, cls in KINDS.items()}


class EventLine(TypedDict):
    """A line of a run's `events.jsonl`, and of `lorapipe run --json`: one event, of the kind that `event` names."""

    v: NotRequired[Annotated[int, Param("the version of the format")]]
    event: Annotated[str, Param("the kind of event")]


DOCUMENT = JsonDocument("event", EventLine, "The line is skipped.", tag="event", variants=KINDS)

_to_json = json.JSONEncoder(ensure_ascii=False).encode


def to_json(event: Event) -> str:
    """Return the line of JSON for an event."""
    return _to_json({"v": VERSION, "event": NAMES[type(event)], **vars(event)})


def from_json(line: str) -> Event:
    """Parse a line. Unknown fields of a later version are ignored. `ValueError` if it is not an event."""
    data = json.loads(line)
    if not DOCUMENT.fits(data):
        raise ValueError(f"{shortened(line, 200)!r} is not an event")
    kind: str = data["event"]
    known = ((name, data[name]) for name in _names(kind) if name in data)
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known}
    return KINDS[kind](**fields)


@cache
def _names(kind: str) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(KINDS[kind]))


def readable(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a run's `events.jsonl`; lines truncated by a kill, or of later versions, are skipped."""
    for line in lines:
        try:
            yield from_json(line)
        except (ValueError, RecursionError):
            continue

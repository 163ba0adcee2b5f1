"""What a run tells: one frozen dataclass for each kind of event, one JSON object a line on the wire.

Stages and the training loop make `Progress`, `Metric`, `Preview` and `Log`; the runner makes the others. The terminal,
the history, `on_event=`, ComfyUI and the watch page are all readers of this one stream.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

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

_to_json = json.JSONEncoder(ensure_ascii=False).encode


def to_json(event: Event) -> str:
    """One line of JSON for an event."""
    return _to_json({"v": VERSION, "event": NAMES[type(event)], **vars(event)})


def from_json(line: str) -> Event:
    """The event of one line; unknown fields of a later version are ignored.

    `ValueError`, `KeyError` or `TypeError` where it is none, or a field is of another kind than it should be.
    """
    data: dict[str, Any] = json.loads(line)
    kind, known = data["event"], dict[str, Any]()
    for name, fits in _fields(kind).items():
        if name in data:
            known[name] = value = tuple(data[name]) if isinstance(data[name], list) else data[name]
            if not fits(value):
                raise TypeError(f"{name} is {value!r}")
    return KINDS[kind](**known)


@cache
def _fields(kind: str) -> Mapping[str, Callable[[object], bool]]:
    """The fields of a kind of event, each with what its values must fulfil."""
    return {name: partial(_fits, hint) for name, hint in get_type_hints(KINDS[kind]).items()}


def _fits(hint: object, value: object) -> bool:
    """Whether a value is what a field is declared as; a whole number will do for a float."""
    kinds, origin = get_args(hint), get_origin(hint)
    if origin is Literal:
        return value in kinds
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(each, (int, float)) for each in value.values())
    if origin is tuple:
        return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    if kinds:
        return any(_fits(kind, value) for kind in kinds)
    return isinstance(value, (int, float) if hint is float else cast("type", hint))


def readable(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a run's `events.jsonl`, without lines cut short by a kill, or told by a later version."""
    for line in lines:
        try:
            yield from_json(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue

"""The folders `runs/<n>/`: each run's events (`events.jsonl`), and its pipeline, times and status (`run.json`).

The history is rebuilt from them if the database is lost. For runs without a `run.json`, its contents are derived from the
events, the results that they name, and the files' modification times.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple, NotRequired, TypedDict

from lorapipe.pipeline.events import Event, Failed, Finished, Planned, Reused, Started, readable
from lorapipe.pipeline.manifest import Manifest
from lorapipe.regular_files import lines_of
from lorapipe.spec import JsonDocument, Param

EVENTS = "events.jsonl"
RUN = "run.json"
VERSION = 1
MOST = 10**9
"""Greater numbers are not runs: the database could not count on from an arbitrary number."""
METRIC = '"event": "metric"'
Manifests = Mapping[str, Manifest]
"""The manifests of existing results, by key."""


class RunNote(TypedDict):
    """A run's `run.json`: which pipeline it ran, and when."""

    v: NotRequired[Annotated[int, Param("the version of the format")]]
    pipeline: Annotated[str, Param("the pipeline's name")]
    started: Annotated[float, Param("when it began, in seconds since 1970")]
    finished: Annotated[float | None, Param("when it ended; null while it runs, or if it was killed")]
    status: Annotated[str | None, Param("how it ended: done, failed, interrupted")]


DOCUMENT = JsonDocument("run", RunNote, "It is derived from the run's events.")


class RunFiles(NamedTuple):
    """The contents of a run's files. `used` maps stages to the keys of their results, made or reused."""

    number: int
    pipeline: str
    started: float
    finished: float | None
    status: str | None
    used: Mapping[str, str]

    @property
    def row(self) -> tuple[int, str, float, float | None, str | None]:
        """Its row in the database."""
        return self.number, self.pipeline, self.started, self.finished, self.status


def numbers(runs: Path) -> list[int]:
    """Return the numbers of the runs whose folders exist, in order."""
    try:
        names = os.listdir(runs)  # noqa: PTH208 (names only, and there may be many)
    except OSError:
        return []
    return sorted(
        number for name in names if name.isascii() and name.isdigit() and str(number := int(name[:12])) == name
        and 0 < number < MOST
    )  # fmt: skip


def note(folder: Path, pipeline: str, started: float, finished: float | None = None, status: str | None = None) -> None:
    """Write `run.json`: the pipeline and start of a run, and at its end also how it ended."""
    entry = {"v": VERSION, "pipeline": pipeline, "started": started, "finished": finished, "status": status}
    (folder / RUN).write_text(json.dumps(entry, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")


def events(folder: Path, *, metrics: bool = True) -> Iterator[Event]:
    """Yield the events of a run; none if the file is missing."""
    yield from readable(line for line in lines_of(folder / EVENTS) if metrics or METRIC not in line)


def read(runs: Path, number: int, manifests: Manifests) -> RunFiles | None:
    """Read a run's files; None if they contain nothing."""
    folder = runs / str(number)
    told = list(events(folder, metrics=False))
    used = {event.stage: event.key for event in told if isinstance(event, (Reused, Finished)) and event.stage}
    noted = _noted(folder / RUN)
    if noted is not None:
        return RunFiles(number, *noted, used)
    if not told:
        return None
    made = _of_keys((event.key for event in told if isinstance(event, Finished)), manifests)
    pipeline = _most_frequent_pipeline(made or _of_keys(used.values(), manifests))
    last = _time_of(folder / EVENTS)
    started = min([last, *(float(each["started"]) for each in made)])
    return RunFiles(number, pipeline, started, last, _status(told), used)


def _of_keys(keys: Iterable[str], manifests: Manifests) -> list[Manifest]:
    return [manifests[key] for key in keys if key in manifests]


def _most_frequent_pipeline(made: Iterable[Manifest]) -> str:
    """Return the pipeline that made most of these results; `?` if there are none."""
    pipelines = Counter(str(each["pipeline"]) for each in made).most_common(1)
    return pipelines[0][0] if pipelines else "?"


def _noted(file: Path) -> tuple[str, float, float | None, str | None] | None:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return None
        told = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return (told["pipeline"], told["started"], told["finished"], told["status"]) if DOCUMENT.fits(told) else None


def _time_of(file: Path) -> float:
    for each in (file, file.parent):
        with suppress(OSError):
            return each.stat().st_mtime
    return 0.0


def _status(told: list[Event]) -> str:
    """Derive a run's status from the events of its stages."""
    stages = {event.stage for event in told if isinstance(event, (Planned, Started))}
    good = {event.stage for event in told if isinstance(event, (Reused, Finished))}
    failed = [event for event in told if isinstance(event, Failed) and event.cause != "cancelled"]
    if failed:
        return "failed"
    return "done" if stages and stages <= good else "interrupted"

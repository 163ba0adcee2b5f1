"""Read a run's events while they are written; each call reads only the new ones.

A resumed training has emitted the beginning of its curve in an earlier run, and a reused one all of it; so the events of
earlier runs for the same result are inserted.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from lorapipe.pipeline import run_files
from lorapipe.pipeline.events import Event, Metric, Preview, Reused, Started, readable

MOST_EARLIER = 10
"""Most earlier runs that are searched for the beginning."""
Work = tuple[str, str]
"""A stage and the key of its result."""


class EventTail:
    """The events of run `number` so far; `runs` is the ledger's folder of runs."""

    def __init__(self, runs: Path, number: int | None) -> None:
        self.path = runs / str(number) / "events.jsonl"
        self._runs = runs
        self._number = number or 0
        self._told: list[Event] = []
        self._read = 0

    def told(self) -> list[Event]:
        """Return all events so far. An incomplete line is left for the next call."""
        new, self._read = _read(self.path, self._read)
        for event in new:
            self._told.append(event)
            if isinstance(event, (Started, Reused)):
                work = (event.stage, event.key)
                self._told += [told for run in self._earlier for told in run.get(work, ())]
        return self._told

    @cached_property
    def _earlier(self) -> list[dict[Work, list[Event]]]:
        """The metrics and previews of each earlier run, the oldest first."""
        with suppress(OSError):
            before = [number for number in run_files.numbers(self._runs) if number < self._number][-MOST_EARLIER:]
            return [_of_work(_read(self._runs / str(number) / "events.jsonl")[0]) for number in before]
        return []


def _read(path: Path, start: int = 0) -> tuple[list[Event], int]:
    """Return the events from an offset in a file on, and the offset of the next."""
    events = list[Event]()
    with suppress(OSError), path.open("rb") as file:
        file.seek(start)
        whole, newline, _ = file.read().rpartition(b"\n")
        start += len(whole) + len(newline)
        events += readable(whole.decode("utf-8", "replace").split("\n"))
    return events, start


def _of_work(events: list[Event]) -> dict[Work, list[Event]]:
    keys: dict[str, str] = {}
    found: dict[Work, list[Event]] = {}
    for event in events:
        if isinstance(event, Started):
            keys[event.stage] = event.key
        elif isinstance(event, (Metric, Preview)) and event.stage in keys:
            found.setdefault((event.stage, keys[event.stage]), []).append(event)
    return found

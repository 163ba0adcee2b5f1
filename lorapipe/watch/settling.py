"""Find folders and zips in an inbox that have not changed for long enough to be complete.

    for dropped in settled(inbox, quiet=10):
        ...

The inbox is polled. Notifications only make the next poll come sooner, so they may be late, doubled or lost. The quiet time
is measured by a monotonic clock, from the poll that saw the last change. Settled entries are polled less often the longer
a poll takes.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from lorapipe.watch.archive import ARCHIVES, zip_state
from lorapipe.watch.folder_state import USUAL, FolderState, SizeLimits, inspect_path, is_ours, is_zip, opened

STATUS = "lorapipe-status.txt"
"""The only file that is written into an inbox."""
BUSY_SECONDS = 0.5
"""Seconds between polls while something is arriving."""
IDLE_SECONDS = 1.0
"""Seconds between polls otherwise."""
LEAST_SECONDS = 0.02
"""Least seconds between polls."""
SHARE = 1000
"""Polling settled entries takes at most 1/`SHARE` of a core's time: a poll of 10 ms CPU time is followed by 10 s without.
While something arrives it is 1/`BUSY_SHARE`; of wall-clock time, as on a slow share, 1/`SLOW_SHARE`."""
SLOWEST_SECONDS = 60.0
BUSY_SHARE = 4
SLOW_SHARE = 10
UNDER_WAY = (
    ".crdownload",
    ".part",
    ".partial",
    ".download",
    ".opdownload",
    ".!qb",
    ".!ut",
    ".aria2",
    ".filepart",
    ".tmp",
)
"""Suffixes of unfinished downloads of browsers and other programs."""
IN_PARTS = re.compile(r"\.(z\d\d|r\d\d|(zip|7z|rar)\.\d{3}|part\d+\.rar)$", re.IGNORECASE)


@dataclass(frozen=True)
class Dropped:
    """A folder or zip that has settled; the `trouble` of its state says what is wrong with it."""

    path: Path
    state: FolderState


@dataclass(frozen=True)
class _Seen:
    """The last known state of an entry and the time of its last change; whether it was opened, decided, returned since."""

    state: FolderState
    since: float
    opened: bool = False
    over: bool = False
    given: bool = False


class Settling:
    """Polls one inbox. `trouble` says why the last poll failed, such as an unreachable share."""

    def __init__(
        self,
        inbox: Path,
        quiet: float,
        patience: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sizes: SizeLimits = USUAL,
    ) -> None:
        self.inbox = inbox
        self.trouble = ""
        self._quiet = quiet
        self._patience = max(quiet, patience)
        self._clock = clock
        self._sizes = sizes
        self._seen: dict[str, _Seen] = {}
        self._breath = LEAST_SECONDS
        self._due = -math.inf

    def poll(self, told: Container[str] = ()) -> list[Dropped]:
        """Poll once; return the entries that have settled since the last time.

        New and arriving entries and those in `told`, which were notified, are examined every time, the others at longer
        intervals.
        """
        began, computed = time.perf_counter(), time.thread_time()
        names = self._names()
        if names is None:
            return []
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        thorough = self._clock() >= self._due
        looked_at = [name for name in sorted(names) if thorough or name in told or self._is_open(name)]
        found = [dropped for name in looked_at if (dropped := self._look_at(name)) is not None]
        cost, wait = time.thread_time() - computed, time.perf_counter() - began
        self._breath = max(LEAST_SECONDS, cost * BUSY_SHARE, wait)
        if thorough:
            self._due = self._clock() + min(SLOWEST_SECONDS, max(IDLE_SECONDS, cost * SHARE, wait * SLOW_SHARE))
        return found

    def again(self, dropped: Dropped, trouble: str = "") -> None:
        """Let an entry settle again, because it changed while it was read, or could not be read (`trouble`)."""
        seen = self._seen.get(dropped.path.name)
        if seen is not None:
            state = replace(seen.state, trouble=trouble, passing=bool(trouble))
            since = seen.since if trouble else self._clock()
            self._seen[dropped.path.name] = replace(seen, state=state, since=since, over=False, given=False)

    def pause(self) -> float:
        """Return the seconds until the next poll."""
        arriving = [seen for name, seen in self._seen.items() if self._is_open(name)]
        if not arriving:
            return IDLE_SECONDS
        due = min(seen.since + self._needed(seen.state) for seen in arriving) - self._clock()
        return max(self._breath, min(BUSY_SECONDS, due))

    def breath(self) -> float:
        """Return the least seconds between two polls, even if changes are notified."""
        return self._breath

    def arriving(self) -> dict[str, FolderState]:
        """Return the entries that have not settled, or will never be a job, by name."""
        return {name: seen.state for name, seen in self._seen.copy().items() if not seen.given}

    def _names(self) -> set[str] | None:
        try:
            with os.scandir(self.inbox) as entries:
                names = {entry.name for entry in entries if is_ours(entry.name) and entry.name != STATUS}
        except OSError as error:
            self.trouble = f"{self.inbox} cannot be read: {error.strerror}"
            return None
        self.trouble = ""
        return names

    def _look_at(self, name: str) -> Dropped | None:
        path, now, seen = self.inbox / name, self._clock(), self._seen.get(name)
        state = inspect_path(path, self._sizes)
        if seen is None or seen.state.mark != state.mark:
            self._seen[name] = _Seen(state, now)
            return None
        if seen.over or now - seen.since < self._quiet:
            return None
        if not seen.opened:  # only once per change
            seen = self._seen[name] = replace(seen, state=_opened(path, seen.state), opened=True)
        if now - seen.since < self._needed(seen.state):
            return None
        wanted = bool(seen.state.pictures) or (seen.state.passing and is_zip(path))
        self._seen[name] = replace(seen, over=True, given=wanted)
        return Dropped(path, seen.state) if wanted else None

    def _needed(self, state: FolderState) -> float:
        return self._patience if state.passing else self._quiet

    def _is_open(self, name: str) -> bool:
        """Return whether an entry is new or undecided."""
        seen = self._seen.get(name)
        return seen is None or not seen.over


def settled(
    inbox: Path,
    quiet: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
    patience: float = 60.0,
) -> Iterator[Dropped]:
    """Yield entries when they have settled, for ever. `wait(seconds)` may return sooner, after a notification."""
    settling = Settling(inbox, quiet, patience, clock)
    while True:
        yield from settling.poll()
        wait(settling.pause())


def _opened(path: Path, state: FolderState) -> FolderState:
    """Return the state of a quiet entry: pictures by contents; for other files, advice."""
    if state.trouble:
        return state
    if path.is_dir():
        return opened(path, state)
    if is_zip(path):
        return replace(zip_state(path), mark=state.mark)
    return replace(state, trouble=_of_file(path.name))


def _of_file(name: str) -> str:
    """Return advice on a file that is not a zip."""
    ending = PurePath(name).suffix.lower()
    if ending in UNDER_WAY:
        return "is still being downloaded, or was abandoned: it is processed when the download has its final name"
    if IN_PARTS.search(name):
        return "is one part of a multi-part archive: unpack it"
    packed = ending in ARCHIVES
    return "is not unpacked: unpack it, or pack it as a zip" if packed else "is ignored: put it into a folder"

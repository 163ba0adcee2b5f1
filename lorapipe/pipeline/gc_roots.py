"""GC roots: the results that running runs use, which `gc` must not remove (Nix: temporary roots).

    locks/<run>.roots         the results that a run uses, by the names of their folders, one per line
    locks/<run>.roots.lock    held by that run, of any project that shares the store, while it is running
    locks/roots.lock          held while roots are added, and while `gc` reads them and takes unused results out of the store
    locks/removals            grows by a byte whenever `gc` has removed something beside a run

A run looks for results, adds those it has found to its roots, and looks again if `removals` has grown meanwhile. So it
notices what `gc` has removed before, and later collections see its roots.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from lorapipe.errors import Interrupted
from lorapipe.pipeline.locks import Busy, holding, take

ROOTS = ".roots"
LOCK = ".lock"
REMOVALS = "removals"
PAUSE_SECONDS = 0.01
"""Seconds between attempts to take a lock that runs hold for milliseconds, and `gc` for a second or two."""


class Roots:
    """The roots of one run, valid until closed. Waiting raises `Interrupted` when `stopping()` turns true."""

    def __init__(self, locks: Path, stopping: Callable[[], object] = bool) -> None:
        self._locks = locks
        self._stopping = stopping
        self._path = locks / f"{os.urandom(16).hex()}{ROOTS}"
        with self._locked():
            self._lock = take(_lock_of(self._path))
            self._path.touch()
            self._removals = _removals(locks)

    def add(self, names: Iterable[str]) -> bool:
        """Add results. Return false if `gc` has removed something since the last call: then check that they still exist."""
        with self._locked():
            with self._path.open("a", encoding="ascii") as file:
                file.writelines(f"{name}\n" for name in names)
            before, self._removals = self._removals, _removals(self._locks)
            return before == self._removals

    def close(self) -> None:
        """Remove the roots; the run has ended."""
        self._lock.close()
        _delete(self._path)

    def _locked(self) -> AbstractContextManager[None]:
        def waiting(busy: Busy) -> None:
            if self._stopping():
                raise Interrupted(f"Stopped while waiting for {busy.who}.")

        return _locked(self._locks, waiting)


def rooted(locks: Path) -> set[str] | None:
    """Return the results that running runs use; None if no run is running."""
    at_work = [path for path in locks.glob(f"*{ROOTS}") if not _has_ended(path)]
    return {name for path in at_work for name in _names(path)} if at_work else None


@contextmanager
def removing(locks: Path) -> Iterator[set[str] | None]:
    """Yield `rooted` while no run can add to it. Runs check again for results that are removed within the block."""
    with _locked(locks, lambda _: None):
        used = rooted(locks)
        if used is not None:
            with (locks / REMOVALS).open("ab") as file:
                file.write(b".")
        yield used


def _locked(locks: Path, waiting: Callable[[Busy], None]) -> AbstractContextManager[None]:
    return holding(locks / f"roots{LOCK}", waiting, PAUSE_SECONDS)


def _has_ended(path: Path) -> bool:
    """Whether the run of these roots has ended; removes the files of a killed run."""
    try:
        take(_lock_of(path)).close()
    except Busy:
        return False
    _delete(path)
    return True


def _delete(path: Path) -> None:
    for each in (path, _lock_of(path)):
        with suppress(OSError):
            each.unlink()


def _names(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:  # the run has just ended
        return []


def _removals(locks: Path) -> int:
    try:
        return (locks / REMOVALS).stat().st_size
    except FileNotFoundError:
        return 0


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{LOCK}")

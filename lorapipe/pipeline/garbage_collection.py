"""Garbage collection of a store: find and remove what is no longer needed.

Kept results: those that the last run of each pipeline has used, those used in the last days (by any project, if the store
is shared), those that a running run uses (see `gc_roots`), and those that a kept result refers to. Attempts and cache
entries are kept for the same days, all cache entries while a run is running. Anything whose lock another process holds is
kept too.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lorapipe.pipeline.artifact_json import STORE
from lorapipe.pipeline.gc_roots import removing, rooted
from lorapipe.pipeline.keys import short
from lorapipe.pipeline.ledger import Ledger, remove
from lorapipe.pipeline.locks import Busy, take
from lorapipe.pipeline.manifest import Manifest

DAY = 86400.0
GONE = ".gone"
"""Suffix of a folder's name while it is being removed."""


@dataclass(frozen=True)
class Waste:
    """A result, attempt or cache entry that can be removed, its size in bytes, and the time of its last change."""

    kind: str
    path: Path
    size: int
    changed: float

    @property
    def is_as_found(self) -> bool:
        """Whether it was not used since: cache entries were not read, results in a shared store not used."""
        return self.path.lstat().st_mtime == self.changed


def waste(ledger: Ledger, days: float, now: float | None = None) -> list[Waste]:
    """List what can be removed, all of it inside the store. Safe beside runs and other collections."""
    before = (time.time() if now is None else now) - days * DAY
    locks = {name for name, _ in _entries(ledger.locks)}
    used = rooted(ledger.locks)
    found = [
        _waste("result", ledger.store / name)
        for name in sorted(_folders(ledger.store) - _kept(ledger, before, used or ()))
        if _is_free(ledger, name, locks)
    ]
    for name in sorted(_folders(ledger.work)):
        if _newest(ledger.work / name) < before and _is_free(ledger, name.partition(".")[0], locks):
            found.append(_waste("attempt", ledger.work / name))
    for path, stat in _files(ledger.cache) if used is None else ():
        if stat.st_mtime < before:
            found.append(Waste("cache entry", Path(path), stat.st_size, stat.st_mtime))
    return found


def _waste(kind: str, folder: Path) -> Waste:
    try:
        changed = folder.lstat().st_mtime
    except FileNotFoundError:
        changed = math.nan
    return Waste(kind, folder, _size(folder), changed)


def clean(ledger: Ledger, found: list[Waste]) -> int:
    """Remove the waste `found`, unless it is used again or already removed; return the number of freed bytes."""
    with removing(ledger.locks) as used:
        current = [short(key) for key in ledger.records.current()]  # a run may have used results since
        kept = _with_referred([*current, *(used or ())], ledger.manifest)
        taken = [
            each
            for each in found
            if not (each.kind == "result" and each.path.name in kept)
            and not (each.kind == "cache entry" and used is not None)
            and _take_out_of_use(ledger, each)
        ]
    return sum(each.size for each in taken if each.kind == "cache entry" or _remove(ledger, each))


def _take_out_of_use(ledger: Ledger, each: Waste) -> bool:
    """Take an entry out of use atomically; return whether this process did it."""
    try:
        if not each.is_as_found:
            return False
        if each.kind == "cache entry":
            each.path.unlink()
            return True
        gone = _renamed(each.path)
        with take(_lock(ledger, each)):
            if gone != each.path:
                remove(gone)  # left over from another collection
                each.path.rename(gone)
        return True
    except (Busy, FileNotFoundError):
        return False


def _remove(ledger: Ledger, each: Waste) -> bool:
    """Delete an entry that is out of use; return whether this process did it."""
    gone = _renamed(each.path)
    try:
        with take(_lock(ledger, each)):
            was_there = gone.exists()
            remove(gone)
        return was_there
    except (Busy, FileNotFoundError):
        return False


def _renamed(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix(GONE)}{GONE}")


def _lock(ledger: Ledger, each: Waste) -> Path:
    return ledger.locks / f"{each.path.name.partition('.')[0]}.lock"


def _kept(ledger: Ledger, before: float, used: Iterable[str]) -> set[str]:
    """Return the names of the needed folders in the store; `used` are those of running runs."""
    ledger.records.catch_up()
    keys = ledger.records.current() | {key for key, at in ledger.records.last_used().items() if at >= before}
    manifests = {short(manifest["key"]): manifest for manifest in ledger.manifests()}
    waiting = [*used, *(short(key) for key in keys)]
    waiting += [
        name for name, manifest in manifests.items() if manifest["finished"] >= before
    ]  # a power cut may have lost its row
    if ledger.is_shared:
        waiting += [
            name
            for name, entry in _entries(ledger.store)
            if entry.is_dir(follow_symlinks=False) and entry.stat().st_mtime >= before
        ]
    return _with_referred(waiting, manifests.get)


def _with_referred(names: Iterable[str], manifest_of: Callable[[str], Manifest | None]) -> set[str]:
    """Return these results and those that they refer to, as far as they have manifests."""
    waiting, kept = [*names], set[str]()
    while waiting:
        name = waiting.pop()
        manifest = None if name in kept else manifest_of(name)
        if manifest is not None:
            kept.add(name)
            waiting += _referred(manifest["artifact"])
    return kept


def _referred(artifact: object) -> Iterator[str]:
    """Yield the folders of the store to which an artifact's paths point."""
    waiting = [artifact]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and value.startswith(STORE):
            yield value.removeprefix(STORE).partition("/")[0]


def _is_free(ledger: Ledger, name: str, locks: Container[str]) -> bool:
    for lock in (f"{name}.lock", f"{name}.attempt"):
        if lock in locks:
            try:
                take(ledger.locks / lock).close()
            except Busy:
                return False
    return True


def _entries(folder: Path | str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return a folder's entries by name; nothing if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folders(folder: Path) -> set[str]:
    return {name for name, entry in _entries(folder) if entry.is_dir(follow_symlinks=False)}


def _files(folder: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all files below a folder, without links."""
    for _, entry in _entries(folder):
        with suppress(FileNotFoundError):
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, entry.stat(follow_symlinks=False)


def _newest(folder: Path) -> float:
    """Return the time of the last change in a folder or below; infinity if it does not exist."""
    try:
        own = folder.lstat().st_mtime
    except FileNotFoundError:
        return math.inf
    below = (_newest(Path(entry.path)) for _, entry in _entries(folder) if entry.is_dir(follow_symlinks=False))
    return max([own, *below, *(stat.st_mtime for _, stat in _files(folder))])


def _size(folder: Path) -> int:
    return sum(stat.st_size for _, stat in _files(folder))

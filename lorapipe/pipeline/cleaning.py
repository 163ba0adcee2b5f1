"""What of a store nobody needs any more, and its removal.

Kept are the results that the last run of each pipeline has used, those used in the last days (by any project, where the
store is shared), and those that a kept one refers to; attempts and cache entries younger than that; and whatever another
process holds the lock of.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorapipe.pipeline.artifacts import STORE
from lorapipe.pipeline.keys import short
from lorapipe.pipeline.ledger import Ledger, remove
from lorapipe.pipeline.locks import Busy, take

DAY = 86400.0


@dataclass(frozen=True)
class Waste:
    """Something that can go: a result, an attempt or a cache entry, and its size in bytes."""

    kind: str
    path: Path
    size: int


def waste(ledger: Ledger, days: float, now: float | None = None) -> list[Waste]:
    """What can go. Nothing outside the store is ever in it."""
    before = (time.time() if now is None else now) - days * DAY
    kept = _kept(ledger, before)
    found = []
    for folder in _folders(ledger.store):
        if folder.name not in kept and _is_free(ledger, folder.name):
            found.append(Waste("result", folder, _size(folder)))
    for folder in _folders(ledger.work):
        name = folder.name.partition(".")[0]
        if _newest(folder) < before and _is_free(ledger, name):
            found.append(Waste("attempt", folder, _size(folder)))
    for file in ledger.cache.rglob("*"):
        with suppress(OSError):
            stat = file.lstat()
            if file.is_file() and stat.st_mtime < before:
                found.append(Waste("cache entry", file, stat.st_size))
    return found


def clean(ledger: Ledger, found: list[Waste]) -> int:
    """Remove it, unless it has come into use; the bytes that are free now."""
    freed = 0
    for each in found:
        if each.kind == "cache entry":
            each.path.unlink(missing_ok=True)
        else:
            name = each.path.name.partition(".")[0]
            try:
                lock = take(ledger.locks / f"{name}.lock")
            except Busy:
                continue
            with lock:
                gone = each.path.with_name(f"{each.path.name}.gone")
                each.path.rename(gone)  # a result is there whole, or not at all
                remove(gone)
        freed += each.size
    return freed


def _kept(ledger: Ledger, before: float) -> set[str]:
    """The names of the folders in the store that are needed."""
    keys = ledger.records.current() | {key for key, at in ledger.records.last_used().items() if at >= before}
    manifests = {short(manifest["key"]): manifest for manifest in ledger.manifests()}
    waiting, kept = [short(key) for key in keys], set[str]()
    waiting += [
        name for name, manifest in manifests.items() if manifest["finished"] >= before
    ]  # a power cut took its row
    if ledger.is_shared:
        waiting += [folder.name for folder in _folders(ledger.store) if folder.stat().st_mtime >= before]
    while waiting:
        name = waiting.pop()
        if name not in kept and name in manifests:
            kept.add(name)
            waiting += _referred(manifests[name]["artifact"])
    return kept


def _referred(value: Any) -> Iterator[str]:
    """The folders of the store that an artifact's paths lead to."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _referred(item)
    elif isinstance(value, list):
        for item in value:
            yield from _referred(item)
    elif isinstance(value, str) and value.startswith(STORE):
        yield value.removeprefix(STORE).partition("/")[0]


def _is_free(ledger: Ledger, name: str) -> bool:
    for suffix in ("lock", "attempt"):
        path = ledger.locks / f"{name}.{suffix}"
        if path.exists():
            try:
                take(path).close()
            except Busy:
                return False
    return True


def _folders(folder: Path) -> list[Path]:
    return (
        sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()) if folder.is_dir() else []
    )


def _newest(folder: Path) -> float:
    return max((each.lstat().st_mtime for each in [folder, *folder.rglob("*")]), default=0.0)


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())

"""Cached SHA-256 digests of files and folders: a file is read again only if its stat has changed.

The stat includes ctime, the time of the last change of any kind, which programs cannot set. So a change of bytes with the
same size and modification time is noticed too.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lorapipe.errors import InputError, Interrupted
from lorapipe.pipeline.ledger_database import LedgerDatabase, Stat, stat_of
from lorapipe.regular_files import open_regular
from lorapipe.spec import canonical

PREFIX = "sha256:"
SETTLED_NS = 2_000_000_000
"""Younger files may change again within one tick of a coarse file system clock, so their digests are not cached."""
PIECE = 1 << 18
"""Bytes per read."""
UNREADABLE = "unreadable"
"""Replaces the digest of an unreadable file in a folder."""
NOISE = frozenset({"Thumbs.db", "desktop.ini"})


class Digests:
    """Computes digests of users' and stored files, and caches them; `save` writes the new ones to the database.

    Reading raises `Interrupted` when `stopping()` turns true. An unreadable file in a folder gets the digest `UNREADABLE`;
    if `strict`, it raises `InputError`.
    """

    def __init__(self, records: LedgerDatabase, stopping: Callable[[], object] = bool, *, strict: bool = False) -> None:
        self._records = records
        self._stopping = stopping
        self._strict = strict
        self._known: dict[str, tuple[Stat, str]] = {}
        self._fresh: dict[str, tuple[Stat, str]] = {}
        self._asked_for: set[str] = set()
        self.listings: dict[str, dict[str, str]] = {}
        """Of every folder's digest: its files (relative path → digest)."""

    def path(self, path: Path) -> str:
        """Return the digest of a file, or of a folder: that of the sorted list of its files and their digests."""
        try:
            if not path.is_dir():
                return self.file(str(path))
            self.recall(path)
            root = f"{path}{os.sep}"
            listing = {name: self._within(root + name, stat) for name, stat in sorted(_files(str(path)))}
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}.", where=str(error.filename or path)) from None
        digest = PREFIX + hashlib.sha256(canonical(listing)).hexdigest()
        self.listings[digest] = listing
        return digest

    def file(self, name: str) -> str:
        """Return the digest of a file."""
        if name not in self._known:
            self.recall(Path(name).parent)
        return self._file(name, stat_of(name))

    def recall(self, folder: Path) -> None:
        """Load the cached digests of all files below a folder from the database, in one query."""
        if str(folder) not in self._asked_for:
            self._asked_for.add(str(folder))
            self._known = {**self._records.digests(str(folder)), **self._known}

    def know(self, name: str, digest: str) -> None:
        """Cache the known digest of a file that was just written."""
        self._known[name] = self._fresh[name] = (stat_of(name), digest)

    def save(self) -> None:
        """Write the new digests to the database."""
        if self._fresh:
            self._records.remember((name, stat, digest) for name, (stat, digest) in self._fresh.items())
            self._fresh.clear()

    def _within(self, name: str, stat: Stat | None) -> str:
        """Return the digest of a folder's file; `UNREADABLE` if it cannot be read: a broken link must not stop a run."""
        try:
            return self._file(name, stat_of(name) if stat is None else stat)
        except FileNotFoundError:  # a broken link, even if strict
            return UNREADABLE
        except OSError:
            if self._strict:
                raise
            return UNREADABLE

    def _file(self, name: str, stat: Stat) -> str:
        known = self._known.get(name)
        if known is not None and known[0] == stat:
            return known[1]
        digest = read_digest(name, self._stopping)
        if stat_of(name) == stat and time.time_ns() - stat[1] > SETTLED_NS:
            self._known[name] = self._fresh[name] = (stat, digest)
        return digest


def read_digest(name: str, stopping: Callable[[], object] = bool) -> str:
    """Read a file and return its digest. `Interrupted` if `stopping()` turns true meanwhile.

    `OSError` if it is not a regular file. A growing file is read up to its size at the start.
    """
    digest = hashlib.sha256()
    with open_regular(name) as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (piece := file.read(min(left, PIECE))):
            digest.update(piece)
            left -= len(piece)
            if stopping():
                raise Interrupted("Stopped while files were read.")
    return PREFIX + digest.hexdigest()


def _files(root: str) -> Iterator[tuple[str, Stat | None]]:
    """Yield the relative POSIX paths and stats of all files below a folder; the stat is None if it fails.

    Hidden files and folders (of file managers, and lorapipe's store) and links into a store are skipped. Linked folders are
    followed, once each.
    """
    seen: set[str] = set()
    waiting = [("", root)]
    while waiting:
        prefix, folder = waiting.pop()
        real = os.path.realpath(folder)
        into_store = bool(prefix) and Path(folder).is_symlink() and ".lorapipe" in Path(real).parts
        if real in seen or into_store:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    folder_within, stat = entry.is_dir(), None
                    if not folder_within:
                        stat = stat_of(entry.path)
                except OSError:
                    folder_within, stat = False, None
                if folder_within:
                    waiting.append((f"{prefix}{entry.name}/", entry.path))
                elif entry.name not in NOISE:
                    yield prefix + entry.name, stat

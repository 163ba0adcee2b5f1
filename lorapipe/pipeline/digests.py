"""SHA-256 of files and folders, with a memory: a file is read again only when its stat has changed.

The stat has the time of the last change of any kind (ctime), which no program can set back: bytes that were exchanged
under the same size and modification time are noticed too.
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
"""A file younger than this may change again within one tick of a coarse file system's clock: it is not remembered."""
PIECE = 1 << 18
"""Bytes that are read at once."""
UNREADABLE = "unreadable"
"""In place of the digest of a folder's file that cannot be read."""
NOISE = frozenset({"Thumbs.db", "desktop.ini"})


class Digests:
    """Computes digests of the user's files and of stored ones, and remembers them in memory until `save`.

    Reading raises `Interrupted` as soon as `stopping()` says so: a source may be larger than anybody's patience. A file of
    a folder that cannot be read is taken as that; where digests are `strict`, it is an `InputError`.
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
        """The digest of a file, or of a folder: of the sorted list of its files and their digests."""
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
        """The digest of a file."""
        if name not in self._known:
            self.recall(Path(name).parent)
        return self._file(name, stat_of(name))

    def recall(self, folder: Path) -> None:
        """Load the remembered digests of all files below a folder from the database, in one query."""
        if str(folder) not in self._asked_for:
            self._asked_for.add(str(folder))
            self._known = {**self._records.digests(str(folder)), **self._known}

    def know(self, name: str, digest: str) -> None:
        """Remember a digest without reading the file: we have just written it."""
        self._known[name] = self._fresh[name] = (stat_of(name), digest)

    def save(self) -> None:
        """Write the new digests to the database."""
        if self._fresh:
            self._records.remember((name, stat, digest) for name, (stat, digest) in self._fresh.items())
            self._fresh.clear()

    def _within(self, name: str, stat: Stat | None) -> str:
        """Return the digest of a folder's file; `UNREADABLE` if it cannot be read: a broken link must not end a run."""
        try:
            return self._file(name, stat_of(name) if stat is None else stat)
        except FileNotFoundError:  # a link to what is gone: nothing that may yet arrive
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
    """Read a file and return its digest; `Interrupted` if `stopping()` turns true meanwhile.

    `OSError` where it is no regular file, which is not even opened. Of a file that grows meanwhile, as many bytes as it had:
    whoever writes for ever is not waited for.
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
    """Relative POSIX paths and stats of a folder's files, as deep as they lie; no stat where there is none to be had.

    Left out: hidden files and folders (what file managers leave behind, and our own store) and links into a store.
    Linked folders are followed, once each.
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

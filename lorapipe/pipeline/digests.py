"""SHA-256 of files and folders, with a memory: a file is read again only when its stat has changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.pipeline.records import Records, Stat, stat_of
from lorapipe.spec import canonical

PREFIX = "sha256:"
SETTLED_NS = 2_000_000_000
"""A file younger than this may change again within one tick of a coarse file system's clock: it is not remembered."""
NOISE = frozenset({"Thumbs.db", "desktop.ini"})


class Digests:
    """Digests of a user's files and of stored ones. What was read is kept in memory until `save`."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._fresh: dict[str, tuple[Stat, str]] = {}
        self._known: dict[str, tuple[Stat, str]] = {}
        self.listings: dict[str, dict[str, str]] = {}
        """Of every folder's digest: its files (relative path → digest)."""

    def path(self, path: Path) -> str:
        """The digest of a file, or of a folder: of the sorted list of its files and their digests."""
        try:
            if not path.is_dir():
                return self.file(path)
            listing = {name: self.file(path / name) for name in sorted(_files(str(path)))}
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}.", where=str(error.filename or path)) from None
        digest = PREFIX + hashlib.sha256(canonical(listing)).hexdigest()
        self.listings[digest] = listing
        return digest

    def file(self, path: Path) -> str:
        """The digest of a file."""
        name, stat = str(path), stat_of(path)
        for memory in (self._known, self._fresh):
            if name in memory and memory[name][0] == stat:
                return memory[name][1]
        known = self._records.digest(name, stat)
        if known is not None:
            return known
        with path.open("rb") as file:
            digest = PREFIX + hashlib.file_digest(file, "sha256").hexdigest()
        if stat_of(path) == stat and time.time_ns() - stat[1] > SETTLED_NS:
            self._fresh[name] = (stat, digest)
        return digest

    def know(self, path: Path, digest: str) -> None:
        """Take the digest of a file as given: the manifest of its result says so."""
        self._known[str(path)] = (stat_of(path), digest)

    def save(self) -> None:
        """Write what was read into the ledger's memory."""
        if self._fresh:
            self._records.remember((name, stat, digest) for name, (stat, digest) in self._fresh.items())
            self._fresh.clear()


def _files(root: str) -> Iterator[str]:
    """Relative POSIX paths of a folder's files, as deep as they lie.

    Left out: hidden files and folders (what file managers leave behind, and our own store) and links into a store.
    Linked folders are followed, once each.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        into_store = folder != root and Path(folder).is_symlink() and ".lorapipe" in Path(real).parts
        if real in seen or into_store:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        yield from (prefix + name for name in files if not name.startswith(".") and name not in NOISE)

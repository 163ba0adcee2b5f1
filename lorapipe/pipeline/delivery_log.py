"""The log of files written outside the store, so that lorapipe replaces only files that it has written.

`.lorapipe/delivered.jsonl` has a line for each written file: its path, and the digest of its bytes. A file may be replaced
if its bytes are those of such a line. Without a line (it may be older than the log, or the line may be lost) it may be
replaced if it is byte for byte a result in the store. A file that another project has made may be the only copy and is not
replaced; it is recognised by the seal in its metadata, which is valid only while the file is unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorapipe.atomic import replacing
from lorapipe.errors import InputError, Problem
from lorapipe.fsync import sync_file, sync_folder
from lorapipe.pipeline.digests import PREFIX, read_digest
from lorapipe.pipeline.ledger import Ledger
from lorapipe.spec import canonical

RECORD = "delivered.jsonl"
MOST_HEADER = 100_000_000
"""Bytes of a safetensors header: the format allows no more."""
OURS, HASH, SEAL = "lorapipe_version", "sshs_model_hash", "lorapipe_seal"
"""Keys in an exported file's metadata: lorapipe's version, the digest of the tensors, and that of the metadata."""
OF_BYTES = (HASH, "sshs_legacy_hash", "modelspec.hash_sha256", SEAL, OURS)
"""Keys whose values are true of one file alone."""

TRIES = 20
FOREIGN = "a file that lorapipe has not made is already there."
OF_ANOTHER_PROJECT = "a LoRA that lorapipe has made in another project is already there."
CHANGED = "the file there has been changed since lorapipe wrote it."
CURE = "Choose another name, or move that file away."


class DeliveryLog:
    """The delivery log of a project. `digest` returns the digest of a file; a ledger's is cached."""

    def __init__(self, ledger: Ledger, digest: Callable[[str], str] = read_digest) -> None:
        self._ledger = ledger
        self._digest = digest
        self.path = ledger.root / RECORD
        self._known: dict[str, dict[str, str]] = {}
        self._read: tuple[int, ...] | None = None

    @property
    def _lines(self) -> dict[str, dict[str, str]]:
        """Path → digest → stage that has written it; read again if another run has added lines."""
        if (now := _seen(self.path)) != self._read:
            self._known, self._read = self._parsed(), now
        return self._known

    def _parsed(self) -> dict[str, dict[str, str]]:
        """Read the file. Incomplete lines, which a killed program leaves, are skipped."""
        found: dict[str, dict[str, str]] = {}
        with suppress(OSError):
            for line in self.path.read_text("utf-8", "surrogateescape").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    found.setdefault(str(entry["place"]), {})[str(entry["digest"])] = str(entry["by"])
        return found

    def maker(self, place: Path) -> str:
        """Return the stage that made the file at a path; empty if there is none, or if the file has changed since."""
        known = self._lines.get(self._name(_real(place)))
        return known.get(self._digest(str(place)), "") if known and os.path.isfile(place) else ""  # noqa: PTH113

    def holds(self, place: Path, source: Path) -> bool:
        """Whether the file at a path already has the bytes of `source`."""
        return os.path.isfile(place) and self._digest(str(place)) == self._digest(str(source))  # noqa: PTH113

    def objection(self, place: Path) -> str:
        """Return why the file at a path may not be replaced; "" if it may: it is missing, empty, or lorapipe's."""
        try:
            there = place.stat()
        except FileNotFoundError:
            return ""
        if not stat.S_ISREG(there.st_mode):
            return "it is not a regular file."
        if not there.st_size:
            return ""
        try:
            if self.maker(place):
                return ""
            if self._is_a_result(place, there.st_size):
                return ""
            if self._name(_real(place)) in self._lines:
                return CHANGED
            return OF_ANOTHER_PROJECT if is_as_exported(place) else FOREIGN
        except (OSError, InputError):  # an unreadable file counts as somebody else's
            return FOREIGN

    def put(self, source: Path, place: Path, by: str, *, overwrite: bool = False, link: bool = False) -> None:
        """Copy a file to a path, atomically. `InputError` if the file there may not be replaced.

        If the path is a link, its target is written. A file that appears meanwhile is not replaced. With `link`, a hard link
        is made if the file system has them; only for files that are never changed.
        """

        def fill(part: Path) -> None:
            try:
                if link:
                    os.link(source, part)
                    return
            except OSError:
                pass  # a file system without links
            shutil.copyfile(source, part)

        self._write(fill, self._digest(str(source)), place, by, overwrite)

    def put_text(self, text: str, place: Path, by: str) -> None:
        """Write a text file like `put`, in UTF-8, with its line ends unchanged."""
        data = text.encode("utf-8")

        def fill(part: Path) -> None:
            part.write_bytes(data)

        self._write(fill, PREFIX + hashlib.sha256(data).hexdigest(), place, by, False)

    def _write(self, fill: Callable[[Path], None], digest: str, place: Path, by: str, overwrite: bool) -> None:
        for _ in range(TRIES):
            with suppress(FileExistsError):  # another run or program has just written there
                return self._try_to_write(fill, digest, place, by, overwrite)
        raise InputError(Problem("the file there keeps changing.", str(place), CURE))

    def _try_to_write(self, fill: Callable[[Path], None], digest: str, place: Path, by: str, overwrite: bool) -> None:
        """Write the file. `FileExistsError` if the file there has changed since it was checked."""
        real = _real(place)
        if real.is_file() and self._digest(str(real)) == digest:
            self._note(real, digest, by)
            return
        before = _seen(real)
        objection = self.objection(real)
        if objection and not (overwrite and real.is_file()):
            raise InputError(Problem(objection, str(place), CURE))
        self._note(real, digest, by)  # first, so that after a kill in between the file counts as lorapipe's
        with replacing(real) as part:
            fill(part)
            if before is None:
                sync_file(part)  # a power cut must not leave the name without the bytes
                _create_exclusively(part, real)
            elif _seen(real) != before:
                raise FileExistsError

    def _note(self, real: Path, digest: str, by: str) -> None:
        """Add a line, unless it exists. If it cannot be written, the file later counts as somebody else's, which is safe."""
        known = self._lines.setdefault(self._name(real), {})
        if known.get(digest) == by:
            return
        known[digest] = by
        line = json.dumps({"place": self._name(real), "digest": digest, "by": by}) + "\n"
        size = 0 if self._read is None else self._read[SIZE]
        with suppress(OSError, InputError):
            if not self._ledger.root.is_dir():
                self._ledger.open()
            with self.path.open("a", encoding="ascii", newline="\n") as file:
                file.write(line)
            sync_file(self.path)
            sync_folder(self.path.parent)
        now = _seen(self.path)
        if now is not None and now[SIZE] == size + len(line):  # no other process has appended lines
            self._read = now

    def _name(self, real: Path) -> str:
        """Return a path's name in the log: relative if inside the project, so that the project can be moved."""
        name, folder = os.path.normcase(real), os.path.normcase(_real(self._ledger.folder))
        return os.path.relpath(name, folder) if Path(name).is_relative_to(folder) else name

    def _is_a_result(self, place: Path, size: int) -> bool:
        """Whether the file is byte for byte one of a result in the store."""
        same_size = {kept["digest"] for kept in self._stored() if kept["size"] == size}
        return bool(same_size) and self._digest(str(place)) in same_size

    def _stored(self) -> Iterator[Mapping[str, object]]:
        for manifest in self._ledger.manifests():
            with suppress(KeyError, TypeError, AttributeError):
                yield from manifest["files"].values()


def seal(metadata: Mapping[str, str]) -> str:
    """Return the digest of a file's metadata, which includes the digest of its tensors; it is stored under `SEAL`."""
    return hashlib.sha256(canonical({key: value for key, value in metadata.items() if key != SEAL})).hexdigest()


def sealed(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return a file's metadata with its seal."""
    return {**metadata, SEAL: seal(metadata)}


def is_as_exported(path: Path) -> bool:
    """Whether a safetensors file was made by lorapipe and is unchanged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length < MOST_HEADER:
                return False
            header = file.read(length)
            read = json.loads(header)
            metadata = read["__metadata__"]
            if OURS not in metadata or not (
                _is_sealed(metadata) if SEAL in metadata else _is_unsealed_export(header, read)
            ):
                return False
            digest: str = hashlib.file_digest(file, "sha256").hexdigest()
            return digest == metadata[HASH]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _is_sealed(metadata: Mapping[str, str]) -> bool:
    return metadata[SEAL] == seal(metadata)


def _is_unsealed_export(header: bytes, read: Mapping[str, Any]) -> bool:
    """Whether a header is that of an earlier lorapipe, without a seal, and its rank is the training's."""
    metadata = read["__metadata__"]
    as_written = {"__metadata__": dict(sorted(metadata.items())), **read}
    rank = (
        json.loads(metadata.get("lorapipe_settings", "{}")).get("adapter", {}).get("rank", metadata["ss_network_dim"])
    )
    same_rank = str(rank) == metadata["ss_network_dim"]
    text = json.dumps(as_written, separators=(",", ":"), ensure_ascii=False)
    return same_rank and header.rstrip(b" ") == text.encode()


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _seen(path: Path) -> tuple[int, ...] | None:
    """Return the stat values that change when a file is replaced; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino


SIZE = 0
"""The index of the size in `_seen`."""


def _create_exclusively(part: Path, place: Path) -> None:
    """Link a file to a path, or, without hard links, create an empty file there. `FileExistsError` if it is taken."""
    try:
        os.link(part, place)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))

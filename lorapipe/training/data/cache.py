"""A content-addressed cache of files: latents, encoded captions, facts about images.

An entry's name is the SHA-256 of everything that its content depends on, so an entry never goes out of date. Entries are
written to a temporary file and renamed; two processes that make the same entry write the same bytes. A damaged entry
counts as missing and is made again, so no entry is synced to disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.atomic import write_bytes
from lorapipe.errors import LorapipeError
from lorapipe.regular_files import open_regular
from lorapipe.spec import canonical

if TYPE_CHECKING:
    import torch


def key_of(*what: Any) -> str:
    """Return the key of an entry that depends on these plain values."""
    return hashlib.sha256(canonical(list(what))).hexdigest()


class Cache:
    """A folder of entries. Each `kind` (`latents`, `text`, `glances`) has its subfolder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, key: str) -> Path:
        """Return the path of an entry, present or not."""
        return self.folder / kind / key[:2] / key

    def has(self, kind: str, key: str) -> bool:
        """Return whether there is an entry; it may be damaged."""
        return self.path(kind, key).is_file()

    def record(self, kind: str, key: str) -> Any:
        """Return the plain value under a key; None if it is missing or damaged."""
        try:
            checksum, value = json.loads(_read(self.path(kind, key)))
        except (OSError, ValueError, TypeError):
            return None
        return value if checksum == zlib.crc32(canonical(value)) else None

    def keep_record(self, kind: str, key: str, value: Any) -> None:
        """Store a plain value, preceded by its checksum."""
        self._write(self.path(kind, key), canonical([zlib.crc32(canonical(value)), value]))

    def tensors(self, kind: str, key: str) -> dict[str, torch.Tensor] | None:
        """Return the tensors under a key, on the CPU; None if they are missing or damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            data = _read(self.path(kind, key))
            return load(data) if _sound(data) else None
        except (OSError, ValueError, SafetensorError):
            return None

    def require(self, kind: str, key: str, whose: str) -> dict[str, torch.Tensor]:
        """Return the tensors of an entry that must exist. `LorapipeError`, which names `whose` it was, if it is gone."""
        tensors = self.tensors(kind, key)
        if tensors is None:
            cure = "It was deleted or damaged while the training ran; run the same command again."
            raise LorapipeError(
                f"the cache has lost the {kind} of {whose}.", where=str(self.path(kind, key)), cure=cure
            )
        return tensors

    def keep_tensors(self, kind: str, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Store tensors as a safetensors file, with a checksum of header and data in its metadata."""
        from safetensors.torch import save

        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = save(plain)
        checksum = {"crc32": str(_checksum(_header(data), _body(data)))}
        self._write(self.path(kind, key), save(plain, metadata=checksum))

    def _write(self, path: Path, data: bytes) -> None:
        if path.is_dir() and not path.is_symlink():  # a folder or device in the place of an entry is removed
            shutil.rmtree(path)
        elif os.path.lexists(path) and not path.is_file():
            path.unlink()
        try:
            write_bytes(data, path, synced=False)
        except PermissionError:  # Windows, while another process reads the entry, which has the same bytes
            if not path.is_file():
                raise


class Remembered(Cache):
    """A cache that also keeps the tensors it has read in memory, up to `limit` bytes.

    A training reads the same entries every epoch. From files that takes 0.2 ms for latents and 0.6 ms for a caption, with
    larger batches several milliseconds a step, for which a fast GPU would wait. Entries that do not fit are read from
    their files each time. Nothing is evicted: with this cyclic access, LRU would evict each entry just before its next use.
    """

    def __init__(self, folder: Path, limit: int = 2**30) -> None:
        super().__init__(folder)
        self._limit = limit
        self._read: dict[tuple[str, str], dict[str, torch.Tensor]] = {}

    def tensors(self, kind: str, key: str) -> dict[str, torch.Tensor] | None:
        """Return the tensors under a key; they are shared, so do not modify them."""
        if known := self._read.get((kind, key)):
            return known
        found = super().tensors(kind, key)
        size = sum(tensor.nbytes for tensor in found.values()) if found else 0
        if found and size <= self._limit:
            self._limit -= size
            self._read[kind, key] = found
        return found


def _header(data: bytes) -> dict[str, Any]:
    """Return the header of a safetensors file: names, dtypes, shapes and offsets of its tensors, and its metadata."""
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


def _body(data: bytes) -> memoryview:
    """Return a safetensors file's bytes after its header (8 bytes of length, then JSON)."""
    return memoryview(data)[8 + int.from_bytes(data[:8], "little") :]


def _read(path: Path) -> bytes:
    """Read an entry and update its modification time, by which unused entries are found."""
    with open_regular(path) as file:
        data = file.read()
    with suppress(OSError):
        os.utime(path)
    return data


def _checksum(header: Mapping[str, Any], body: memoryview) -> int:
    return zlib.crc32(canonical(header), zlib.crc32(body))


def _sound(data: bytes) -> bool:
    """Return whether the data matches its checksum; false for truncated, overwritten or zeroed files.

    Earlier versions computed the checksum over the tensors' data alone.
    """
    try:
        header, body = _header(data), _body(data)
        stored = header.pop("__metadata__")["crc32"]
        return stored in (str(_checksum(header, body)), str(zlib.crc32(body)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False

"""Results worth keeping, as files named by what they were made from.

A name is the SHA-256 of everything that the content depends on, so an entry is never out of date and never needs to be
looked at by two people in two ways: it is there or it is not. Entries are written aside and renamed; two processes that
make the same entry write the same bytes, and whoever comes second changes nothing. A damaged entry counts as missing,
which is why none is synced: what a power cut has spoilt is made again.
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
    """The name of an entry that is made from these plain values."""
    return hashlib.sha256(canonical(list(what))).hexdigest()


class Cache:
    """A folder of entries; `kind` is a word (`latents`, `text`, `glances`) that gets a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, key: str) -> Path:
        """Where an entry lies, or would."""
        return self.folder / kind / key[:2] / key

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry; it may yet turn out to be damaged."""
        return self.path(kind, key).is_file()

    def record(self, kind: str, key: str) -> Any:
        """The plain value kept under a key; None where there is none or it is damaged."""
        try:
            checksum, value = json.loads(_read(self.path(kind, key)))
        except (OSError, ValueError, TypeError):
            return None
        return value if checksum == zlib.crc32(canonical(value)) else None

    def keep_record(self, kind: str, key: str, value: Any) -> None:
        """Keep a plain value, with a checksum before it."""
        self._write(self.path(kind, key), canonical([zlib.crc32(canonical(value)), value]))

    def tensors(self, kind: str, key: str) -> dict[str, torch.Tensor] | None:
        """The tensors kept under a key, on the CPU; None where there are none or they are damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            data = _read(self.path(kind, key))
            return load(data) if _sound(data) else None
        except (OSError, ValueError, SafetensorError):
            return None

    def require(self, kind: str, key: str, whose: str) -> dict[str, torch.Tensor]:
        """The tensors of an entry that was there before; `LorapipeError` where it is lost, which names `whose` it was."""
        tensors = self.tensors(kind, key)
        if tensors is None:
            cure = "It was deleted or damaged while the training ran; run the same command again."
            raise LorapipeError(
                f"the cache has lost the {kind} of {whose}.", where=str(self.path(kind, key)), cure=cure
            )
        return tensors

    def keep_tensors(self, kind: str, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep tensors as a safetensors file, with a checksum of its data and their names in its header."""
        from safetensors.torch import save

        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = save(plain)
        checksum = {"crc32": str(_checksum(_header(data), _body(data)))}
        self._write(self.path(kind, key), save(plain, metadata=checksum))

    def _write(self, path: Path, data: bytes) -> None:
        if path.is_dir() and not path.is_symlink():  # what is no file makes way
            shutil.rmtree(path)
        elif os.path.lexists(path) and not path.is_file():
            path.unlink()
        try:
            write_bytes(data, path, synced=False)
        except PermissionError:  # Windows, while another process reads the entry: its bytes are these
            if not path.is_file():
                raise


class Remembered(Cache):
    """A cache that keeps the tensors it has read, until it has `limit` bytes of them.

    A training reads the same entries epoch after epoch: from files, 0.2 ms for an entry of latents and 0.6 for one of text
    are several milliseconds a step with larger batches, which a fast GPU would wait for. What does not fit is read
    from its file each time; nothing makes way, because what is read in turn would always have been thrown out just before.
    """

    def __init__(self, folder: Path, limit: int = 2**30) -> None:
        super().__init__(folder)
        self._limit = limit
        self._read: dict[tuple[str, str], dict[str, torch.Tensor]] = {}

    def tensors(self, kind: str, key: str) -> dict[str, torch.Tensor] | None:
        """They are shared, so nobody may change them."""
        if known := self._read.get((kind, key)):
            return known
        found = super().tensors(kind, key)
        size = sum(tensor.nbytes for tensor in found.values()) if found else 0
        if found and size <= self._limit:
            self._limit -= size
            self._read[kind, key] = found
        return found


def _header(data: bytes) -> dict[str, Any]:
    """The names, kinds and places of a safetensors file's tensors, and its metadata."""
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


def _body(data: bytes) -> memoryview:
    """A safetensors file without its header (8 bytes of length, then JSON)."""
    return memoryview(data)[8 + int.from_bytes(data[:8], "little") :]


def _read(path: Path) -> bytes:
    """An entry's bytes; its time says that it was of use, so that what is not can be thrown away some day."""
    with open_regular(path) as file:
        data = file.read()
    with suppress(OSError):
        os.utime(path)
    return data


def _checksum(header: Mapping[str, Any], body: memoryview) -> int:
    return zlib.crc32(canonical(header), zlib.crc32(body))


def _sound(data: bytes) -> bool:
    """Whether the data is what the checksum was taken of. A file cut short, overwritten or zeroed is not.

    Earlier versions took it of the tensors' data alone.
    """
    try:
        header, body = _header(data), _body(data)
        kept = header.pop("__metadata__")["crc32"]
        return kept in (str(_checksum(header, body)), str(zlib.crc32(body)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False

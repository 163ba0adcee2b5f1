"""Files with a checksum header, so that damage is noticed before the content is used.

    b"lorapipe-crc32-1"   length (8 bytes)   CRC-32 (4 bytes)   content

CRC-32 detects flipped bits, lost or exchanged sectors and truncated files, but not forgery. It takes a quarter of a second
to a second per gigabyte, less than the disk needs to read it.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lorapipe.atomic import replacing
from lorapipe.regular_files import open_regular

MAGIC = b"lorapipe-crc32-1"
HEADER = struct.Struct("<16sQI")
CHUNK = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"


class Damaged(ValueError):
    """The content of a file is not what was written."""


class ChecksumWriter:
    """A writable file that computes the CRC-32 of the written data."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.crc = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write data and update the checksum; return the number of bytes written."""
        self.crc = zlib.crc32(data, self.crc)
        self.size += (written := self._file.write(data))
        return written

    def flush(self) -> None:
        """Flush the underlying file."""
        self._file.flush()


class Body(io.RawIOBase):
    """The content after the header as a file of its own, since PyTorch's reader needs a file that begins at offset 0."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek(0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek to an offset from the end of the header, and return the new offset."""
        return self._file.seek(offset + (HEADER.size if whence == os.SEEK_SET else 0), whence) - HEADER.size

    def tell(self) -> int:
        """Return the offset from the end of the header."""
        return self._file.tell() - HEADER.size

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, unless the file ends before; return the number of bytes read."""
        return self._file.readinto(buffer)  # type: ignore[attr-defined]


@contextmanager
def writing(path: Path) -> Iterator[ChecksumWriter]:
    """Yield a file for sequential writing. At the end of the block it is at `path`, complete, synced, with its checksum."""
    with replacing(path) as part, part.open("wb") as file:
        file.write(bytes(HEADER.size))
        summing = ChecksumWriter(file)
        yield summing
        file.seek(0)
        file.write(HEADER.pack(MAGIC, summing.size, summing.crc))


@contextmanager
def reading(path: Path) -> Iterator[Body]:
    """Yield the verified content of a file. Raises `Damaged` if its checksum is wrong or missing."""
    with open_regular(path) as file:
        head = file.read(HEADER.size)
        if not head.startswith(MAGIC) or len(head) < HEADER.size:
            raise Damaged("it has no checksum: it is damaged, or was written by an earlier version")
        _, size, crc = HEADER.unpack(head)
        if (found := os.fstat(file.fileno()).st_size - HEADER.size) != size:
            raise Damaged(f"it is damaged: it has {found} of {size} bytes")
        if _crc(file) != crc:
            raise Damaged("it is damaged: its checksum does not match")
        yield Body(file)


def crc_of(path: Path) -> int:
    """Return the CRC-32 of a file."""
    with open_regular(path) as file:
        return _crc(file)


def is_whole_png(path: Path) -> bool:
    """Whether a PNG is complete and undamaged, by the CRC-32 of each chunk, which most viewers do not check."""
    data = memoryview(path.read_bytes())
    place, kind = len(PNG), b""
    while kind != b"IEND" and place + 12 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), bytes(data[place + 4 : place + 8])
        end = place + 8 + size
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        place = end + 4
    return data[: len(PNG)] == PNG and kind == b"IEND" and place == len(data)


def _crc(file: BinaryIO) -> int:
    crc = 0
    while chunk := file.read(CHUNK):
        crc = zlib.crc32(chunk, crc)
    return crc

"""Files that begin with a checksum of all that follows: damage is noticed before a number of it is used.

    b"lorapipe-crc32-1"   length (8 bytes)   CRC-32 (4 bytes)   what was written

CRC-32 finds a flipped bit, a lost or exchanged sector, a file cut short; what it is not for is forgery. It takes a
quarter of a second to a second for a gigabyte, less than the disk takes for it.
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
    """A file that is not what was written."""


class ChecksumWriter:
    """A file to write to that computes the CRC-32 of what passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.crc = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write, in order."""
        self.crc = zlib.crc32(data, self.crc)
        self.size += (written := self._file.write(data))
        return written

    def flush(self) -> None:
        """Hand on what is buffered."""
        self._file.flush()


class Body(io.RawIOBase):
    """What follows the header of a file, as a file of its own: PyTorch's reader does not bear with a beginning elsewhere."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek(0)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek, counted from the end of the header."""
        return self._file.seek(offset + (HEADER.size if whence == os.SEEK_SET else 0), whence) - HEADER.size

    def tell(self) -> int:
        """The place."""
        return self._file.tell() - HEADER.size

    def readinto(self, buffer: Any) -> int:
        """As many bytes as the buffer has, unless the file ends before."""
        return self._file.readinto(buffer)  # type: ignore[attr-defined]


@contextmanager
def writing(path: Path) -> Iterator[ChecksumWriter]:
    """A file to write to, from its beginning to its end; whole, synced and with its checksum at `path` afterwards."""
    with replacing(path) as part, part.open("wb") as file:
        file.write(bytes(HEADER.size))
        summing = ChecksumWriter(file)
        yield summing
        file.seek(0)
        file.write(HEADER.pack(MAGIC, summing.size, summing.crc))


@contextmanager
def reading(path: Path) -> Iterator[Body]:
    """What was written to such a file; it has been verified. `Damaged` where its checksum is another, or there is none."""
    with open_regular(path) as file:
        head = file.read(HEADER.size)
        if not head.startswith(MAGIC) or len(head) < HEADER.size:
            raise Damaged("it has no checksum: it is damaged, or of an earlier version")
        _, size, crc = HEADER.unpack(head)
        if (found := os.fstat(file.fileno()).st_size - HEADER.size) != size:
            raise Damaged(f"it is damaged: {found} bytes, of {size} that were written")
        if _crc(file) != crc:
            raise Damaged("it is damaged: its checksum is not that of what was written")
        yield Body(file)


def crc_of(path: Path) -> int:
    """The CRC-32 of a file."""
    with open_regular(path) as file:
        return _crc(file)


def is_whole_png(path: Path) -> bool:
    """Whether a PNG is what was written: each of its chunks has a CRC-32, which those who show pictures do not look at."""
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

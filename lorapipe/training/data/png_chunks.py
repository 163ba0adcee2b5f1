"""Remove PNG chunks that Pillow refuses: workflows of megabytes, editing histories, very large colour profiles.

Pillow rejects a file with a text of more than 1 MB, unpacked, or one that is truncated after the picture. Viewers show
such files, and of these texts only those with the orientation are needed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"))
"""Chunks that make up the picture."""
TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
UPRIGHT = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Keys of texts that may contain the orientation."""
MOST_TEXT = 100_000
"""Most bytes of an uncompressed text that is kept; compressed texts, whose unpacked size is unknown, are removed."""
MOST_CHUNKS = 500_000
PILLOWS_MOST = 1_000_000
"""Most bytes of a text or profile that Pillow accepts, unpacked."""
MOST_PROFILE = 32_000_000
"""Most bytes of a colour profile, unpacked; the largest printer profiles have a few million."""


class Chunk(NamedTuple):
    """A chunk's name, its start and end in the file (length, name, body and checksum), and whether it is complete."""

    name: bytes
    start: int
    end: int
    whole: bool


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a PNG in order; the last may be truncated. ValueError if there are more than `MOST_CHUNKS`."""
    at, count = len(SIGNATURE), 0
    while at + 8 <= len(data):
        if (count := count + 1) > MOST_CHUNKS:
            raise ValueError(f"more than {MOST_CHUNKS:,} chunks")
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        yield Chunk(name, at, min(end, len(data)), end <= len(data))
        if name == b"IEND" or end > len(data):
            return
        at = end


def plain(data: bytes) -> tuple[bytes, bytes | None]:
    """Return a PNG that Pillow can read, and its colour profile if too large for Pillow; unchanged if nothing is wrong."""
    found = list(chunks(data))
    pixels_start = _start_of_pixels(found)
    kept, profile, texts = [], None, 0
    for place, chunk in enumerate(found):
        if chunk.name in NEEDED:
            keeps = True
        elif not chunk.whole or not _checksum_fits(data, chunk):
            keeps = place < pixels_start and not chunk.whole  # truncated before the pixels: let Pillow report it
        elif chunk.name in TEXTS:
            texts += chunk.end - chunk.start
            keeps = texts <= PILLOWS_MOST and _is_harmless(data, chunk)
        elif chunk.name == b"iCCP":
            unpacked = _profile(data, chunk)
            keeps = len(unpacked) <= PILLOWS_MOST
            profile = unpacked if PILLOWS_MOST < len(unpacked) < MOST_PROFILE else profile
        else:
            keeps = True
        if keeps:
            kept.append(chunk)
    if len(kept) == len(found):
        return data, None
    return _joined(data, kept), profile


def _joined(data: bytes, kept: Iterable[Chunk]) -> bytes:
    return b"".join([SIGNATURE, *(data[chunk.start : chunk.end] for chunk in kept)])


def _start_of_pixels(found: Sequence[Chunk]) -> int:
    """Return the index of the first IDAT chunk; the number of chunks if there is none."""
    return next((place for place, chunk in enumerate(found) if chunk.name == b"IDAT"), len(found))


def _checksum_fits(data: bytes, chunk: Chunk) -> bool:
    body = memoryview(data)[chunk.start + 4 : chunk.end - 4]
    return zlib.crc32(body) == int.from_bytes(data[chunk.end - 4 : chunk.end], "big")


def _is_harmless(data: bytes, chunk: Chunk) -> bool:
    body = data[chunk.start + 8 : chunk.end - 4]
    rest = body.partition(b"\0")[2]
    packed = chunk.name == b"zTXt" or (chunk.name == b"iTXt" and rest[:1] == b"\1")
    if not packed:
        return len(body) <= MOST_TEXT or (body.startswith(UPRIGHT) and len(body) < PILLOWS_MOST)
    if not body.startswith(UPRIGHT):
        return False
    stream = rest[1:] if chunk.name == b"zTXt" else rest[2:].split(b"\0", 2)[-1]
    return len(_unpacked(stream, PILLOWS_MOST + 1) or b"") < PILLOWS_MOST


def _profile(data: bytes, chunk: Chunk) -> bytes:
    """Return the colour profile in a chunk; empty if it is damaged."""
    stream = data[chunk.start + 8 : chunk.end - 4].partition(b"\0")[2][1:]
    return _unpacked(stream, MOST_PROFILE) or b""


def _unpacked(stream: bytes, most: int) -> bytes | None:
    """Decompress at most `most` bytes of a stream; None if it is damaged."""
    try:
        return zlib.decompressobj().decompress(stream, most)
    except zlib.error:
        return None

"""PNGs, without what hangs on them: a workflow of megabytes, a history, a profile larger than Pillow takes.

Pillow gives up a file over a text of more than 1 MB, unpacked, or one that breaks off behind the picture. Viewers show such
files, and nothing in these texts is needed but the few that say how to hold the picture.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"))
"""Chunks that are the picture."""
TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
UPRIGHT = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Texts that may say how to hold the picture."""
MOST_TEXT = 100_000
"""Bytes of a text that is left where it is; packed ones, of which nobody knows what they unpack to, are not."""
MOST_CHUNKS = 500_000
PILLOWS_MOST = 1_000_000
MOST_PROFILE = 32_000_000
"""Bytes that a colour profile may have, unpacked; the largest of printers have a few million."""


class Chunk(NamedTuple):
    """A chunk's name, where it begins and ends in the file (length, name, body and checksum), and whether it is whole."""

    name: bytes
    start: int
    end: int
    whole: bool


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG, in their order; the last may break off."""
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
    """A PNG that Pillow reads, and its colour profile where that was too large for it; the same bytes where all is well."""
    found = list(chunks(data))
    behind = _start_of_pixels(found)
    kept, profile, texts = [], None, 0
    for place, chunk in enumerate(found):
        if chunk.name in NEEDED:
            keeps = True
        elif not chunk.whole or not _checksum_fits(data, chunk):
            keeps = place < behind and not chunk.whole  # before the picture: there is none
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
    """The place of the first chunk of pixels; the end where there is none."""
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
    """The colour profile in a chunk; empty where it is damaged."""
    stream = data[chunk.start + 8 : chunk.end - 4].partition(b"\0")[2][1:]
    return _unpacked(stream, MOST_PROFILE) or b""


def _unpacked(stream: bytes, most: int) -> bytes | None:
    """What a stream unpacks to, no more than `most` bytes of it; None where it is damaged."""
    try:
        return zlib.decompressobj().decompress(stream, most)
    except zlib.error:
        return None

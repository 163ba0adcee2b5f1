"""The memory that decoding a picture takes, estimated from its header, and a budget that all threads share.

A file of 172 kB may contain 13,300 × 13,300 pixels. The bytes that each format's decoder needs per pixel were measured
(peak memory of the process, one format at a time) and rounded up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

LIMIT = 2**30
"""Bytes that all pictures being decoded may take together, and the most that one may take."""
LARGE = 64_000_000
"""Number of pixels from which a picture is downscaled during conversion, to avoid a second full-size copy."""

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes that Pillow stores for a pixel of these modes; 4 for all others."""
_DECODER = {
    "WEBP": 12,
    "AVIF": 12,
    "HEIF": 12,
    "JPEG2000": 16,
    "QOI": 8,
    "DDS": 8,
    "ICO": 9,
    "CUR": 8,
    "GIF": 8,
    "PPM": 4,
}
"""Bytes per pixel that a format's decoder needs besides the decoded picture."""
_CONVERTED = 8
"""Bytes per pixel for the RGB copy and for rotating it upright."""


class MemoryBudget:
    """Blocks a thread until its bytes fit into the budget. A request larger than the budget runs alone."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._taken = 0
        self._changed = threading.Condition()
        self._mine = threading.local()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Reserve bytes for the calling thread. Within the block, further reservations of the thread cost nothing."""
        if getattr(self._mine, "holds", False):
            yield
            return
        size = min(size, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + size <= self._limit)
            self._taken += size
        self._mine.holds = True
        try:
            yield
        finally:
            self._mine.holds = False
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


BUDGET = MemoryBudget()
"""The budget of this process, shared by its threads."""


def needed(image: Image, length: int) -> int:
    """Return an upper bound of the bytes that decoding an opened picture takes; `length` is its file's size in bytes."""
    pixels = image.width * image.height
    converted = 0 if pixels > LARGE else _CONVERTED
    return length + pixels * (_STORED.get(image.mode, 4) + _decoder_bytes(image) + converted)


def _decoder_bytes(image: Image) -> int:
    if image.format == "TIFF":
        return _tiff_decoder_bytes(image)
    return _DECODER.get(image.format or "", 0)


def _tiff_decoder_bytes(image: Image) -> int:
    """Return the bytes per pixel for a TIFF: a strip or tile is unpacked at once, and a file may be a single strip."""
    tags = getattr(image, "tag_v2", {})
    rows = tags.get(278) or tags.get(323) or image.height
    share = min(1.0, int(rows) / max(1, image.height)) if isinstance(rows, int) else 1.0
    return 1 + int(8 * share)

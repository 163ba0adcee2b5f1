"""How much memory decoding a picture takes, by its header, and a budget that all threads share.

A file of 172 kB may hold 13,300 × 13,300 pixels. What a decoder takes for a pixel was measured (peak of the process, each
format alone) and rounded up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

LIMIT = 2**30
"""Bytes that pictures may take while they are decoded, all threads together, and each one alone."""
LARGE = 64_000_000
"""Pixels from which on a picture is made smaller while it is converted, as it would be kept twice otherwise."""

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes that Pillow takes for a pixel of a mode; for others 4."""
_BESIDE = {
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
"""Bytes that a format's decoder takes for a pixel beside what becomes the picture."""
_CONVERTED = 8
"""Bytes for a pixel of the upright copy in RGB, and for turning it."""


class MemoryBudget:
    """Lets work begin when its bytes fit beside those of the work in hand; what is more than all of it works alone."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._taken = 0
        self._changed = threading.Condition()
        self._mine = threading.local()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Bytes that this thread may take within; a thread that holds some already is not asked again."""
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
"""That of this process: memory is what all its threads share."""


def needed(image: Image, length: int) -> int:
    """The bytes that decoding an opened picture takes at most, `length` being that of its file."""
    pixels = image.width * image.height
    converted = 0 if pixels > LARGE else _CONVERTED
    return length + pixels * (_STORED.get(image.mode, 4) + _beside(image) + converted)


def _beside(image: Image) -> int:
    if image.format == "TIFF":
        return _rows_at_once(image)
    return _BESIDE.get(image.format or "", 0)


def _rows_at_once(image: Image) -> int:
    """A strip or a tile of a TIFF is unpacked in one piece, and a file may be one strip."""
    tags = getattr(image, "tag_v2", {})
    rows = tags.get(278) or tags.get(323) or image.height
    share = min(1.0, int(rows) / max(1, image.height)) if isinstance(rows, int) else 1.0
    return 1 + int(8 * share)

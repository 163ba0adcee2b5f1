"""Progress events for loops over many items."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from lorapipe.pipeline.events import Progress

if TYPE_CHECKING:
    from lorapipe.pipeline.context import Context

T = TypeVar("T")
SECONDS = 0.5
"""Seconds between two events."""


def with_progress(items: Iterable[T], total: int, unit: str, context: Context) -> Iterator[T]:
    """Yield the items and emit progress events twice a second. Raises `Interrupted` when the user stops the run."""
    start = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        context.check()
        now = time.monotonic()
        if now - shown > SECONDS or done == total:
            left = (now - start) / done * (total - done)
            context.emit(Progress(step=done, total=total, unit=unit, seconds_left=left))
            shown = now

"""Prefetching: a map whose results threads compute ahead of the consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


def prefetched(work: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> Iterator[R]:
    """Return `map(work, items)` in order, computed ahead by one thread per core (8 at most).

    At most two results per thread wait at any time, so a folder of large photographs does not fill the memory. Reading,
    decoding and resizing pictures release the GIL, so threads are enough.
    """
    from concurrent.futures import ThreadPoolExecutor  # not quick to import, and needed when pictures are read

    threads = threads or min(8, os.cpu_count() or 1)
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

"""Work done in threads ahead of the one who needs it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetched(work: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> Iterator[R]:
    """`map(work, items)`, in order, with as many threads as there are cores (8 at most) working ahead.

    No more than two results a thread are waiting at any time, so a folder of large photographs does not fill the
    memory. Reading, decoding and resizing pictures let go of the interpreter lock: threads are enough.
    """
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

"""Compute the digests of dropped folders on background threads, so that a slow one does not delay others."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import closing
from pathlib import Path

from lorapipe.pipeline.digests import Digests
from lorapipe.pipeline.ledger_database import LedgerDatabase
from lorapipe.watch.settling import Dropped

MOST_THREADS = 4
Answer = str | Exception
"""A digest, or why there is none."""


class BackgroundDigests:
    """Computes digests. For each name only the last request is answered. `memory` is the database of cached digests."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._asked: dict[str, Dropped] = {}
        self._waiting: queue.SimpleQueue[Dropped | None] = queue.SimpleQueue()
        self._read: queue.Queue[tuple[Dropped, Answer]] = queue.Queue()
        self._threads: list[threading.Thread] = []

    @property
    def under_way(self) -> dict[str, Dropped]:
        """The folders that are being read or wait for it, by name."""
        return dict(self._asked)

    def ask(self, dropped: Dropped) -> None:
        """Request a digest; it is computed when a thread is free."""
        self._asked[dropped.path.name] = dropped
        self._waiting.put(dropped)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) < min(MOST_THREADS, len(self._asked)):
            thread = threading.Thread(target=self._work, name="fingerprints", daemon=True)
            self._threads.append(thread)
            thread.start()

    def answers(self, seconds: float) -> list[tuple[Dropped, Answer]]:
        """Return the digests that are ready within `seconds`, sorted by name."""
        found, deadline = list[tuple[Dropped, Answer]](), time.monotonic() + seconds
        while self._asked:
            try:
                dropped, answer = self._read.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if self._asked.get(dropped.path.name) is dropped:
                del self._asked[dropped.path.name]
                found.append((dropped, answer))
        return sorted(found, key=lambda pair: pair[0].path.name)

    def close(self) -> None:
        """Let the threads end after what they are reading."""
        for _ in self._threads:
            self._waiting.put(None)

    def _work(self) -> None:
        while (dropped := self._waiting.get()) is not None:
            if self._asked.get(dropped.path.name) is dropped:
                self._read.put((dropped, self._digest(dropped.path)))

    def _digest(self, path: Path) -> Answer:
        """Return the digest of all files below a path; unchanged files are not read again."""
        try:
            with closing(LedgerDatabase(self._memory, private=True)) as records:
                digests = Digests(records, strict=True)  # an unreadable file may still be being copied
                try:
                    return digests.path(path)
                finally:
                    digests.save()
        except Exception as error:  # any error must reach the caller
            return error

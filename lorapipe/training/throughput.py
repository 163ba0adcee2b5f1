"""Throughput and ETA of a training run: seconds per step, seconds left."""

from __future__ import annotations

import time
from collections import deque

INTERVAL = 0.25
"""Seconds between two updates."""
WINDOW = 40
"""Number of updates over which seconds per step are averaged: about ten seconds."""


class Throughput:
    """Measures the time per step over a sliding window, and estimates the time left."""

    def __init__(self, total: int, done: int = 0) -> None:
        """`total` is the number of the last step, `done` the steps that earlier attempts have completed."""
        self.total = total
        self.start = (time.monotonic(), done)
        self.window = deque([self.start], maxlen=WINDOW)

    def due(self) -> bool:
        """Return whether the next update is due."""
        return time.monotonic() - self.window[-1][0] >= INTERVAL

    def update(self, step: int) -> None:
        """Record that `step` has been reached."""
        self.window.append((time.monotonic(), step))

    @property
    def seconds_per_step(self) -> float:
        """The mean over the window."""
        (begin, first), (end, last) = self.window[0], self.window[-1]
        return (end - begin) / max(1, last - first)

    @property
    def seconds_left(self) -> float:
        """The ETA at the mean speed since the start, which includes the time for snapshots and previews."""
        (begin, first), (end, last) = self.start, self.window[-1]
        return (end - begin) / max(1, last - first) * (self.total - last)

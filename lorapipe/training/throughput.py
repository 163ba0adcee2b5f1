"""How a training gets on: seconds a step, time left."""

from __future__ import annotations

import time
from collections import deque

INTERVAL = 0.25
"""Seconds between two looks."""
WINDOW = 40
"""Looks that the seconds a step are taken over: ten seconds."""


class Pace:
    """Tells when to look again, and from the looks how fast it goes."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.start = (time.monotonic(), done)
        self.looks = deque([self.start], maxlen=WINDOW)

    def due(self) -> bool:
        """Whether the last look is long enough ago."""
        return time.monotonic() - self.looks[-1][0] >= INTERVAL

    def look(self, step: int) -> None:
        """Note that `step` has been reached."""
        self.looks.append((time.monotonic(), step))

    @property
    def seconds_per_step(self) -> float:
        """Over the last looks."""
        (begin, first), (end, last) = self.looks[0], self.looks[-1]
        return (end - begin) / max(1, last - first)

    @property
    def seconds_left(self) -> float:
        """Until the last step, at the pace since the start: snapshots and previews will take their time again."""
        (begin, first), (end, last) = self.start, self.looks[-1]
        return (end - begin) / max(1, last - first) * (self.total - last)

"""Ctrl-C and SIGTERM, for commands that run until they are asked to stop."""

from __future__ import annotations

import signal
from typing import Any, Protocol, Self


class Notes(Protocol):
    """Anything that can show a line about the run as a whole."""

    def note(self, text: str) -> None:
        """Show a line."""


class StopSignals:
    """Handles Ctrl-C and SIGTERM: once to stop after the stage has saved its work, twice to stop now."""

    def __init__(self) -> None:
        self.view: Notes | None = None
        self._count = 0
        self._before: dict[int, Any] = {}

    def level(self) -> int:
        """Return how urgently the run is asked to stop: 0, 1 or 2."""
        return min(self._count, 2)

    def _asked(self, number: int, frame: object) -> None:
        self._count += 1
        if self._count == 1 and self.view is not None:
            self.view.note("Stopping as soon as the stage has saved its work; Ctrl-C again stops at once.")
        if self._count > 2:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

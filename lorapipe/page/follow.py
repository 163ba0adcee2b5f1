"""A run's events while they are written: asked each second, only what has come since is read."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lorapipe.pipeline.events import Event, from_json


class Follower:
    """What the file of a run's events has told so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: list[Event] = []
        self._read = 0

    def told(self) -> list[Event]:
        """All of it. A line that is half written waits for its end."""
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
            self._read += len(whole) + len(newline)
            for line in whole.decode("utf-8", "replace").split("\n") if newline else ():
                with suppress(ValueError, KeyError, TypeError):  # told by a later version
                    self._told.append(from_json(line))
        return self._told

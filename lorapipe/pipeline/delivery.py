"""Delivery of a stage's file to a place outside the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lorapipe.spec import Destination


class Delivery(NamedTuple):
    """A file of a stage's artifact, to be copied to the path in the knob `knob`.

    `ending` is the required file name ending, added if it is missing. `overwrite` allows replacing a file that lorapipe has
    not made. With `is_folder`, the artifact's path is a folder, and all its files go into a folder of that name.
    """

    knob: str
    to: Destination
    file: Callable[[object], Path]
    ending: str = ""
    overwrite: bool = False
    is_folder: bool = False

    def place(self, name: str) -> Path:
        """Return the target path; `name` is used if the knob names a folder."""
        if not self.is_folder:
            return self.to.file(name, self.ending)
        return self.to.path / name if self.to.is_folder else self.to.path

"""A file of a stage's artifact that the user wants at a place of his own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lorapipe.spec import Destination


class Delivery(NamedTuple):
    """A file of a stage's artifact, to be put where its knob `knob` says.

    `ending` is what the name must end in, and is added where it is missing. `overwrite`: what is there may go, whoever
    has made it. With `is_folder` the artifact's path is a folder, and all files in it go into one of that name.
    """

    knob: str
    to: Destination
    file: Callable[[object], Path]
    ending: str = ""
    overwrite: bool = False
    is_folder: bool = False

    def place(self, name: str) -> Path:
        """Where it goes: what is named, or `name` in the folder that is named."""
        if not self.is_folder:
            return self.to.file(name, self.ending)
        return self.to.path / name if self.to.is_folder else self.to.path

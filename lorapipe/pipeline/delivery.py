"""What a stage says of a file that its user wants somewhere: which file of its artifact, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorapipe.spec import Destination


@dataclass(frozen=True)
class Delivery:
    """A file of a stage's artifact, to be put where its knob `knob` says.

    `ending` is what the name must end in, and is added where it is missing. `overwrite`: what is there may go, whoever
    has made it.
    """

    knob: str
    to: Destination
    file: Callable[[Any], Path]
    ending: str = ""
    overwrite: bool = False

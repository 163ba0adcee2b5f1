"""A folder of caption files, as a knob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import Source


@dataclass(frozen=True)
class CaptionFolder(Source):
    """A folder of caption files that are named like pictures, or a stage that makes captions: `$tags`."""

    artifact: ClassVar[str] = "Captions"

"""Underscores in tags to spaces, or back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags
from lorapipe.spec import param

WORD = re.compile(r"[^\W\d_]{2}|[^\x00-\x7f]")
"""What a tag of words has and a face of characters (`o_o`, `>_<`, `+_+`) lacks: two letters in a row, or foreign ones."""


@dataclass(frozen=True)
class Underscores(Edit):
    """Turn underscores in tags into spaces, which most text encoders know better, or back. Faces such as o_o stay."""

    to: Literal["spaces", "underscores"] = param("spaces", "what stands between the words of a tag afterwards")

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        convert = spaced if self.to == "spaces" else underscored
        return [tuple(map(convert, tags)) for tags in captions]


def spaced(tag: str) -> str:
    """Return a tag with spaces for underscores, unless it is a face."""
    return " ".join(tag.replace("_", " ").split()) if "_" in tag and WORD.search(tag) else tag


def underscored(tag: str) -> str:
    """Return a tag with underscores for spaces."""
    return "_".join(tag.split())

"""kohya's convention for names of folders: `10_penny woman` has 10 repeats and a caption."""

from __future__ import annotations

import re
from typing import NamedTuple

KOHYA = re.compile(r"(\d{1,4})_(.*)", re.DOTALL)
"""Matches repeats and words. Numbers of five digits or more are dates or counts."""

REGULARISATION = frozenset(
    ("reg", "regs", "reg_images", "regularization", "regularisation", "regularization_images", "class_images")
)
"""Names of folders with regularisation pictures (of the class), in any case."""


class FolderName(NamedTuple):
    """The repeats of a folder's pictures, and the caption of those without one; `word` may be empty."""

    repeats: int
    word: str


def parse(name: str) -> FolderName | None:
    """Parse a folder's name; None if it does not follow the convention."""
    found = KOHYA.fullmatch(name)
    return FolderName(int(found[1]), found[2].strip()) if found else None


def is_regularisation(name: str) -> bool:
    """Return whether a folder of this name contains regularisation pictures."""
    return name.casefold() in REGULARISATION

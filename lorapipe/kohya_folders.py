"""kohya's convention for names of folders: `10_penny woman` has 10 repeats and a caption."""

from __future__ import annotations

import re
from typing import NamedTuple

KOHYA = re.compile(r"(\d{1,4})_(.*)", re.DOTALL)
"""Repeats and words. Five digits and more are a date or a number of something."""


class FolderName(NamedTuple):
    """How often an epoch shows the pictures, and what is said of those without a caption; `word` may be empty."""

    repeats: int
    word: str


def parse(name: str) -> FolderName | None:
    """Parse a folder's name; None if it is not of this kind."""
    found = KOHYA.fullmatch(name)
    return FolderName(int(found[1]), found[2].strip()) if found else None

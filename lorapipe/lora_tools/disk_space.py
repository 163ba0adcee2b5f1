"""Whether a disk has space for a file, asked before anything is computed."""

from __future__ import annotations

import shutil
from pathlib import Path

from lorapipe.errors import InputError

ROOM = 64 << 20
"""Bytes that stay free on the disk."""


def require_space(target: Path, needed: int) -> None:
    """Raise `InputError` if the disk of a path has less free space than a file needs, before it is written."""
    folder = next((each for each in target.absolute().parents if each.is_dir()), Path())
    free = shutil.disk_usage(folder).free
    if free < needed + ROOM:
        what = f"needs {needed / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free on the disk of {folder}."
        raise InputError(what, where=str(target), cure="Free some space, or write to another disk.")

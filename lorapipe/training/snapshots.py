"""Snapshots: the adapter as it is, as files that other programs load."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lorapipe.atomic import PART_SUFFIX


def publish(source: Path, target: Path) -> None:
    """Make a file or folder appear at `target` as well; what is only read from now on needs no second copy.

    What a killed process left unfinished in a folder stays behind.
    """
    if source.is_dir():
        for inner in sorted(source.iterdir()):
            if inner.suffix != PART_SUFFIX:
                publish(inner, target / inner.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)

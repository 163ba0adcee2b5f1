"""A place beside the target, where a file or folder is written and checked before it appears under its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lorapipe.fsync import make_folder, sync_all


@contextmanager
def unpublished(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`, with its ending; what is there replaces the target if the block succeeds."""
    make_folder(target.absolute().parent)
    part = target.absolute().with_name(f".{os.getpid()}-{os.urandom(4).hex()}{target.suffix}")
    try:
        yield part
        if target.is_dir():
            shutil.rmtree(target)
        sync_all([part])
        part.replace(target)
        sync_all([target])
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)

"""A place beside the target, where a file or folder is written and checked before it appears under its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lorapipe.atomic import publish
from lorapipe.errors import InputError
from lorapipe.fsync import make_folder


def require_other(target: Path, sources: Iterable[Path]) -> None:
    """Raise `InputError` if a path to write is one that is read."""
    for source in sources:
        if target.exists() and source.exists() and target.samefile(source):
            what = "is the file itself: it is read, and cannot be written too."
            raise InputError(what, where=str(target), cure="Name another.")


@contextmanager
def unpublished(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`, with its ending; what is there replaces the target if the block succeeds."""
    make_folder(target.absolute().parent)
    part = target.absolute().with_name(f".{os.getpid()}-{os.urandom(4).hex()}{target.suffix}")
    try:
        yield part
        publish(part, target)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)

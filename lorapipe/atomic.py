"""Atomic file writes: a temporary file beside the target is renamed, so that the target is complete or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lorapipe.fsync import make_folder, sync_all, sync_file, sync_folder

PART_SUFFIX = ".part"
"""The suffix of files that are being written; a killed process leaves one behind."""


@contextmanager
def replacing(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it at the end of the block, or is deleted if the block fails.

    Two processes may do so at once: the last one wins, and a reader sees one complete file or the other. The temporary
    name is short, since a name may have at most 255 bytes. Afterwards the file survives a power cut. With `synced=False`
    it may be empty or the old one after a power cut; for files with a checksum that are quickly made again.
    """
    make_folder(path.parent)
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path  # a device or a pipe is written directly, not replaced by a file
        return
    part = path.with_name(f".{os.getpid()}-{os.urandom(4).hex()}{PART_SUFFIX}")
    try:
        yield part
        if synced:
            sync_file(part)
        part.replace(path)
        if synced:
            sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def publish(part: Path, target: Path) -> None:
    """Give a finished file or folder its name, in place of the file or folder that has it; it survives a power cut.

    A folder that is replaced is removed before, so between the two there is none.
    """
    sync_all([part])
    if target.is_dir():
        import shutil  # which loads three packers, and is seldom needed

        shutil.rmtree(target)
    part.replace(target)
    sync_all([target])


def write_bytes(data: bytes, path: Path, *, synced: bool = True) -> None:
    """Write a file atomically; its folder is created if missing."""
    with replacing(path, synced=synced) as part:
        part.write_bytes(data)


def write_text(text: str, path: Path, *, synced: bool = True) -> None:
    """Write a text file atomically, in UTF-8, with its line ends unchanged."""
    write_bytes(text.encode("utf-8"), path, synced=synced)

"""Atomic file writes: files are written beside their place and renamed into it, so that they are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lorapipe.fsync import make_folder, sync_file, sync_folder

PART_SUFFIX = ".part"
"""The suffix of files that are being written; a killed process leaves one behind."""


@contextmanager
def replacing(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """A path to write to, beside `path`; it takes `path`'s place when the block ends, and is gone if the block fails.

    Two processes may do so at once: the last one wins, and a reader sees one whole file or the other. The name is
    short, whatever the file's own: a name may have 255 bytes. When it has returned, the file outlasts a power cut too;
    unless it is not `synced`, for what notices its own damage and is soon made again: after a power cut that may be
    empty, or the old one.
    """
    make_folder(path.parent)
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path  # a device or a pipe is written to: putting a file into its place would be its end
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


def write_bytes(data: bytes, path: Path, *, synced: bool = True) -> None:
    """Write a file whole, making its folder."""
    with replacing(path, synced=synced) as part:
        part.write_bytes(data)


def write_text(text: str, path: Path, *, synced: bool = True) -> None:
    """Write a text file whole, in UTF-8 with the line ends that it has."""
    write_bytes(text.encode("utf-8"), path, synced=synced)

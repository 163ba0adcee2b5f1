"""Open files only after checking that they are regular files.

A path written by a stranger, or a name in a stranger's folder, may be a named pipe, a socket or a device: opening it may
block for ever, reading it may never end. Anything but a regular file raises an `OSError` with a readable message, so that
callers report it like any other unreadable file.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""`O_NONBLOCK`: a pipe that replaces the file after the check is opened without blocking; it does not affect files."""
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)


class IrregularFileError(OSError):
    """The path is not a regular file, or not one that may be read; `strerror` says what it is."""


def kind_of(mode: int) -> str:
    """Return the kind of a file by its mode: `a named pipe`; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((words for is_kind, words in KINDS if is_kind(mode)), "a special file")


def open_regular(path: Path | str, *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading bytes; with `follow=False`, not through a link.

    `IrregularFileError` for anything else, which is not opened; other `OSError` as for any file.
    """
    _require_regular(os.stat(path, follow_symlinks=follow), path)  # noqa: PTH116 (as in `stat_of`)
    descriptor = os.open(path, FLAGS | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    try:
        _require_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a file; invalid UTF-8 is replaced. Yields nothing if the file cannot be read."""
    with suppress(OSError), io.TextIOWrapper(open_regular(path), "utf-8", "replace", newline="\n") as file:
        yield from file


def open_inside(path: Path, root: Path) -> BinaryIO:
    """Open a regular file below `root`. `IrregularFileError` if links lead out of `root`."""
    real = os.path.realpath(path)
    if not is_inside(real, root):
        raise IrregularFileError(errno.EPERM, "it is a link that leads out of the folder", str(path))
    return open_regular(real, follow=False)


def read_regular(file: BinaryIO, most: int) -> bytes:
    """Read all bytes of an open file. `IrregularFileError` if there are more than `most`, even if it grows meanwhile."""
    with file:
        data = file.read(most + 1)
    if len(data) > most:
        raise IrregularFileError(errno.EFBIG, f"it has more than {size_in_words(most)}")
    return data


def is_inside(path: Path | str, root: Path | str) -> bool:
    """Whether a path, with links resolved, is `root` or below it; the path need not exist."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def size_in_words(size: float) -> str:
    """Format a number of bytes: `20 kB`, `1.5 GB`."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= least:
            return f"{size / least:.3g} {unit}"
    return f"{size:g} bytes"


def _require_regular(found: os.stat_result, path: Path | str) -> None:
    if kind := kind_of(found.st_mode):
        raise IrregularFileError(errno.EINVAL, f"it is {kind}, not a file", str(path))

"""Files whose kind is known before they are opened.

A path that a stranger wrote, or a name in a folder that a stranger filled, may stand for a named pipe, a socket, a device:
to open one may wait for ever, to read one may never end. What is no regular file is refused in words, as an `OSError` like
any other, so that whoever tells of files that cannot be read tells of these too.
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
"""A pipe that takes the file's place between two looks is opened without waiting; to a file it makes no difference."""
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)


class IrregularFileError(OSError):
    """It is no regular file, or not the one that may be read; `strerror` says what it is."""


def kind_of(mode: int) -> str:
    """What something is, by its mode, in words: `a named pipe`; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((words for is_kind, words in KINDS if is_kind(mode)), "no ordinary file")


def open_regular(path: Path | str, *, follow: bool = True) -> BinaryIO:
    """Open a regular file to read its bytes; with `follow=False`, not by way of a link.

    `IrregularFileError` where it is something else, which is not opened; other `OSError` as for any file.
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
    """The lines of a file, one by one; bytes that are no UTF-8 are replaced. No lines where it cannot be read."""
    with suppress(OSError), io.TextIOWrapper(open_regular(path), "utf-8", "replace", newline="\n") as file:
        yield from file


def open_inside(path: Path, root: Path) -> BinaryIO:
    """Open a regular file that lies below `root`, whatever links are on the way; where they lead out, it is not opened."""
    real = os.path.realpath(path)
    if not is_inside(real, root):
        raise IrregularFileError(errno.EPERM, "it is a link that leads out of the folder", str(path))
    return open_regular(real, follow=False)


def read_regular(file: BinaryIO, most: int) -> bytes:
    """All bytes of an open file, which may be `most`, also where it grows while it is read."""
    with file:
        data = file.read(most + 1)
    if len(data) > most:
        raise IrregularFileError(errno.EFBIG, f"it has more than {size_in_words(most)}")
    return data


def is_inside(path: Path | str, root: Path | str) -> bool:
    """Whether a path lies, by way of links, below `root`, or is it; whether it is there makes no difference."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def size_in_words(size: float) -> str:
    """`20 kB`, `1.5 GB`."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= least:
            return f"{size / least:.3g} {unit}"
    return f"{size:g} bytes"


def _require_regular(found: os.stat_result, path: Path | str) -> None:
    if kind := kind_of(found.st_mode):
        raise IrregularFileError(errno.EINVAL, f"it is {kind}, not a file", str(path))

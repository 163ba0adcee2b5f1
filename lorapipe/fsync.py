"""What is synced survives a power cut: the bytes of a file, the names in a folder.

A rename is at once what every program sees, but a disk may learn the new name long before the bytes: what is to be whole
under its name is synced first, then renamed, and then the folder is synced that holds the name. Without that, a
journalling file system is sound after a power cut and the file in it is empty.

A disk that reports an error while it syncs is one (`OSError`); a file system that cannot sync is taken as it is.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

UNABLE = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)
"""What file systems answer that cannot sync a file or a folder (network shares, FUSE)."""
TO_SYNC = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY

if sys.platform == "darwin":
    import fcntl

    def _flush(descriptor: int) -> None:
        """To the medium: there, `fsync` alone leaves it in the drive's memory, of which this writes all."""
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)

else:
    _flush = os.fsync


def sync_file(path: Path | str) -> None:
    """Flush the bytes of a file to the disk. On Windows the file must be writable for that."""
    _sync(path, TO_SYNC, _flush)


def sync_folder(path: Path | str) -> None:
    """Flush the names in a folder to the disk. Windows has no call for that: its file system writes them in order."""
    if sys.platform != "win32":
        _sync(path, os.O_RDONLY, _flush)


def sync_tree(folder: Path | str) -> None:
    """All files below a folder, each once, and the names of all; the folder itself last, which brings all to the medium."""
    for place, _, _ in os.walk(folder, topdown=False):
        with os.scandir(place) as entries:
            files = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
        for file in files:
            _sync(file, TO_SYNC, os.fsync)
        sync_folder(place)


def sync_all(paths: Iterable[Path]) -> None:
    """Files, and folders with all that is in them, and their own names; what is not there is left out."""
    for path in paths:
        if path.is_dir():
            sync_tree(path)
        elif path.is_file():
            sync_file(path)
        if path.exists():
            sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, so that the names of all that are new are on the disk."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in reversed(new):
        sync_folder(each.parent)


def _sync(path: Path | str, flags: int, flush: Callable[[int], None]) -> None:
    try:
        descriptor = os.open(path, flags)
    except PermissionError:  # of a file that may not be written, Windows has nothing to sync
        return
    try:
        flush(descriptor)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    finally:
        os.close(descriptor)

"""Flush files and folders to the disk, so that they survive a power cut.

Every program sees a rename at once, but the disk may store the new name long before the bytes. So a file is synced, then
renamed, and then its folder is synced. Without that, the file may be empty after a power cut, even on a journalling file
system.

An error of the disk while it syncs raises `OSError`; a file system that cannot sync is accepted.
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
"""Errors of file systems that cannot sync a file or a folder (network shares, FUSE)."""
TO_SYNC = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY

if sys.platform == "darwin":
    import fcntl

    def _flush(descriptor: int) -> None:
        """Flush to the medium: on macOS, `fsync` alone leaves data in the drive's cache."""
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)

else:
    _flush = os.fsync


def sync_file(path: Path | str) -> None:
    """Flush the bytes of a file to the disk. On Windows the file must be writable."""
    _sync(path, TO_SYNC, _flush)


def sync_folder(path: Path | str) -> None:
    """Flush the names in a folder to the disk. On Windows it does nothing: NTFS writes them in order."""
    if sys.platform != "win32":
        _sync(path, os.O_RDONLY, _flush)


def sync_tree(folder: Path | str) -> None:
    """Flush all files and names below a folder; the folder itself comes last, which flushes all to the medium."""
    for place, _, _ in os.walk(folder, topdown=False):
        with os.scandir(place) as entries:
            files = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
        for file in files:
            _sync(file, TO_SYNC, os.fsync)
        sync_folder(place)


def sync_all(paths: Iterable[Path]) -> None:
    """Flush files, and folders with their contents, and their names in their parent folders; skip missing paths."""
    for path in paths:
        if path.is_dir():
            sync_tree(path)
        elif path.is_file():
            sync_file(path)
        if path.exists():
            sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder and missing parents, and flush the names of all new ones."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in reversed(new):
        sync_folder(each.parent)


def _sync(path: Path | str, flags: int, flush: Callable[[int], None]) -> None:
    try:
        descriptor = os.open(path, flags)
    except PermissionError:  # a read-only file, which Windows cannot sync
        return
    try:
        flush(descriptor)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    finally:
        os.close(descriptor)

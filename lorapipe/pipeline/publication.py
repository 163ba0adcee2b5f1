"""Publish an attempt as a result, in an order of steps that survives a kill or a power cut at any moment.

    out/ is complete → manifest.json → everything synced → renamed into the store → store/ synced → resume/ removed

Before the rename there is an attempt to resume from; with a manifest it is a finished one. After the rename there is a
result, in which a remaining resume/ is ignored.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from lorapipe.fsync import sync_file, sync_folder, sync_tree
from lorapipe.pipeline.digests import read_digest
from lorapipe.pipeline.manifest import ResultFile

MANIFEST = "manifest.json"
LOG = "log.txt"
RESUME = "resume"


def begin(attempt: Path) -> None:
    """Create an attempt's folders: out/ empty, resume/ as an earlier attempt left it. Its lock must be held.

    Anything of another kind there, such as a file instead of a folder, is removed. The manifest is removed first, since it
    says that out/ is complete.
    """
    remove(attempt / MANIFEST)
    remove(attempt / "out")
    (attempt / "out").mkdir(parents=True)
    resume = folder_at(attempt / RESUME)
    for path in resume.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):  # reading a pipe would block
            path.unlink()


def folder_at(path: Path) -> Path:
    """Create a folder of the store if there is none; remove anything else there."""
    if path.is_symlink() or not path.is_dir():
        remove(path)
        path.mkdir(parents=True, exist_ok=True)
    return path


def inventory(attempt: Path) -> dict[str, ResultFile]:
    """Return every file of an attempt with its size and digest."""
    files = (file for file in sorted((attempt / "out").rglob("*")) if file.is_file())
    return {
        file.relative_to(attempt).as_posix(): {"size": file.stat().st_size, "digest": read_digest(str(file))}
        for file in files
    }


def move(attempt: Path, target: Path, damaged: Path) -> None:
    """Rename a finished attempt to `target` in the store; an existing result there is moved to `damaged` and removed.

    Everything is synced here, so stages need not sync. Files are made read-only last, since Windows cannot sync read-only
    files.
    """
    made = [attempt / MANIFEST, attempt / LOG]
    sync_tree(attempt / "out")
    for file in filter(Path.is_file, made):
        sync_file(file)
    sync_folder(attempt)
    if os.path.lexists(target):
        remove(damaged)
        target.rename(damaged)
        remove(damaged)
    attempt.rename(target)
    sync_folder(target.parent)
    remove(target / RESUME)
    for file in filter(Path.is_file, target.rglob("*")):
        file.chmod(stat.S_IREAD | stat.S_IRGRP | stat.S_IROTH)


def link(aside: Path, target: str, place: Path) -> None:
    """Make or change a link to a folder at `place`, atomically: it is made as `aside` and renamed.

    `aside` is a fixed name, so a kill leaves at most one. If two processes do this at once, one may find that the other has
    renamed its link, and repeats; the last one wins.
    """
    for left in reversed(range(10)):
        try:
            aside.unlink(missing_ok=True)
            aside.symlink_to(target, target_is_directory=True)
            aside.replace(place)
            return
        except (FileExistsError, FileNotFoundError):
            if not left:
                raise


def remove(path: Path | str) -> None:
    """Delete a folder, including read-only files in it, or a file; of a link, only the link."""

    def writable(function: Callable[[str], object], name: str, _: object) -> None:
        if Path(name).exists():
            Path(name).chmod(stat.S_IRWXU)
            function(name)

    if not os.path.lexists(path):  # the usual case, for every result of a run
        return
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=writable)
    else:
        if not path.is_symlink():
            path.chmod(stat.S_IRWXU)
        path.unlink()

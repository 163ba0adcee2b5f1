"""Publishing an attempt as a result, in an order of steps that survives a kill or a power cut at any moment.

    out/ is whole → manifest.json → all of it synced → renamed into the store → store/ synced → resume/ removed

Before the rename there is an attempt to go on from, with its resume/; once it has its manifest, a finished one. After the
rename there is a result, and whatever of resume/ a kill has left in it is of no use to anybody.
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
    """Make an attempt's folders: out/ empty, resume/ as an earlier attempt left it. Its lock must be held.

    What is not of its kind there (a file for a folder) makes way; the manifest goes first, which says that out/ is whole.
    """
    remove(attempt / MANIFEST)
    remove(attempt / "out")
    (attempt / "out").mkdir(parents=True)
    resume = folder_at(attempt / RESUME)
    for path in resume.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            path.unlink()


def folder_at(path: Path) -> Path:
    """Make a folder of ours where there is none; anything else there makes way."""
    if path.is_symlink() or not path.is_dir():
        remove(path)
        path.mkdir(parents=True, exist_ok=True)
    return path


def inventory(attempt: Path) -> dict[str, ResultFile]:
    """Every file that was made, with its size and digest."""
    files = (file for file in sorted((attempt / "out").rglob("*")) if file.is_file())
    return {
        file.relative_to(attempt).as_posix(): {"size": file.stat().st_size, "digest": read_digest(str(file))}
        for file in files
    }


def move(attempt: Path, target: Path, damaged: Path) -> None:
    """Rename a finished attempt to `target` in the store; an older result there is moved to `damaged` and removed.

    Everything is synced in one pass, whoever wrote it: stages need not. Files are made read-only last: Windows syncs none
    that are.
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
    """Make a link to a folder at `place`, or let the one there point elsewhere: it is made `aside` and renamed.

    There is one name for that, so that what a kill leaves is in use again the next time. Of two that do so at once, one may
    find that the other has renamed its link, and makes it again; the last one wins.
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
    """Delete a folder of ours, also what is read-only in it, or a file; of a link, the link alone."""

    def writable(function: Callable[[str], object], name: str, _: object) -> None:
        if Path(name).exists():
            Path(name).chmod(stat.S_IRWXU)
            function(name)

    if not os.path.lexists(path):  # most often, and for every result of a run
        return
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=writable)
    else:
        if not path.is_symlink():
            path.chmod(stat.S_IRWXU)
        path.unlink()

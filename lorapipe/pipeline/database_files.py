"""The files of a SQLite database: open, compare, make private, set aside, explain why they cannot be written."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path

PATIENCE_SECONDS = 30.0
"""How long to wait for another process that writes."""
MOST_ASIDE = 3
"""Most damaged files of a database that are kept; then the oldest is deleted."""
DESCRIPTORS = 4
"""Most files that SQLite has open for one database."""


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing file; never creates one."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)


def copied(path: Path, folder: Path) -> Path:
    """Copy a database with its write-ahead log, and return the copy."""
    for each in (path, path.with_name(f"{path.name}-wal")):
        if each.is_file():
            shutil.copyfile(each, folder / each.name)
    return folder / path.name


def identity(path: Path) -> tuple[int, int]:
    """Return what distinguishes a file from one that replaced it."""
    found = os.stat(path)  # noqa: PTH116 (asked at every use)
    return found.st_dev, found.st_ino


def may_be_written(path: Path) -> bool:
    """Whether this user may write the file, or make it."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def files_of(path: Path) -> list[Path]:
    """Return the files of a database."""
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("", "-wal", "-shm")]


def make_private(path: Path) -> None:
    """Remove the permissions of others from files of an earlier version."""
    for each in files_of(path) if os.name == "posix" else ():
        with suppress(OSError):
            if each.stat().st_mode & 0o077:
                each.chmod(0o600)


def set_aside(path: Path) -> Path | None:
    """Rename a damaged database with its journal, and return the new path; None if there is none."""
    if not any(map(os.path.lexists, files_of(path))):
        return None
    names = [path.with_name(f"{path.stem}.damaged-{count}{path.suffix}") for count in range(1, MOST_ASIDE + 1)]
    aside = next((name for name in names if not any(map(os.path.lexists, files_of(name)))), names[-1])
    if any(map(os.path.lexists, files_of(aside))):
        for older, newer in itertools.pairwise(names):
            _rename(newer, older)
    _rename(path, aside)
    return aside


def _rename(path: Path, target: Path) -> None:
    for each, to in zip(files_of(path), files_of(target), strict=True):
        if os.path.lexists(to):
            shutil.rmtree(to) if to.is_dir() and not to.is_symlink() else to.unlink()
        with suppress(FileNotFoundError):
            each.rename(to)


def refusal(path: Path | None) -> OSError | None:
    """Return the system's error if nothing can be written beside a file."""
    if path is None:
        return None
    probe = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with ExitStack() as stack:
            stack.callback(probe.unlink, missing_ok=True)
            files = [stack.enter_context(probe.open("wb")) for _ in range(DESCRIPTORS)]
            files[0].write(bytes(1 << 16))
    except OSError as error:
        return error
    return None

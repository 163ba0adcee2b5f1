"""Errors of a database: which ones mean damage, and readable messages for the others."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import LorapipeError, problem_of
from lorapipe.pipeline import database_files
from lorapipe.pipeline.database_files import files_of, refusal

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT})
DAMAGED_READS = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
REFUSED = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY}
)
"""SQLite's codes for errors of the operating system, without their reason."""
DAMAGE_TEXTS = ("no such table", "no such column", "has no column", "malformed", "Could not decode")


class Unavailable(LorapipeError, sqlite3.OperationalError):
    """The database cannot be used now, but is not damaged."""


class Locked(Unavailable):
    """Another program keeps the database locked."""


class Unfit(sqlite3.DatabaseError):
    """The file does not have the expected tables."""


class Changed(Exception):
    """A later version has changed the tables."""


def is_damaged(path: Path, error: sqlite3.Error) -> bool:
    """Whether an error means that the file or its journal is damaged."""
    code = getattr(error, "sqlite_errorcode", 0)
    if isinstance(error, Unfit) or code & 0xFF in DAMAGED or code in DAMAGED_READS:
        return True
    if any(words in str(error) for words in DAMAGE_TEXTS):
        return True
    return any(os.path.lexists(each) and not each.is_file() for each in files_of(path))


def is_out_of_row_ids(db: sqlite3.Connection, error: sqlite3.Error) -> bool:
    """Whether a table has no more row ids, for which SQLite also reports SQLITE_FULL."""
    with suppress(sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            (last,) = db.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()
            return last is not None and last > 2**53
    return False


def in_words(error: sqlite3.Error, path: Path | None, refused: Unavailable | None) -> Unavailable:
    """Turn an error into a readable one with its cure; `refused` is why the database is read-only, if it is."""
    if isinstance(error, Unavailable):
        return error
    where = "the records in memory" if path is None else str(path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        what = f"another program has kept it locked for {database_files.PATIENCE_SECONDS:g} seconds."
        cure = "Find the program that has it open (a database viewer, a backup, a stopped lorapipe), and end it."
        return Locked(what, where=where, cure=cure)
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(problem_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where))
    if code == sqlite3.SQLITE_READONLY and refused is not None:
        return Unavailable(refused.problems)
    reason = refusal(path) if code in REFUSED else None
    if reason is not None:
        return Unavailable(problem_of(reason, where))
    cure = "Check the permissions there and the limits of this shell (`ulimit -a`), then try again."
    return Unavailable(f"cannot be used: {error}.", where=where, cure=cure)

"""A SQLite file that processes share, that repairs itself when damaged, and whose errors are readable.

    class Records:
        database: Database

        @mended
        def runs(self):
            return self.database.connection.execute("SELECT …").fetchall()

Damage may show at any query, not only when the file is opened. If the file is damaged, missing, empty or lacks tables, it is
set aside, a new one is built from other sources and renamed into its place, and the method is called again. A lock ensures
that only one process does so; the others use the new file.

A file of an older version is migrated. A file of a later version is used if that has only added to the tables; otherwise
it is left alone, and this version uses another file beside it.
"""

from __future__ import annotations

import errno
import functools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from lorapipe.errors import LorapipeError, problem_of
from lorapipe.pipeline import database_files
from lorapipe.pipeline.database_content import Content
from lorapipe.pipeline.database_errors import (
    Changed,
    Locked,
    Unavailable,
    Unfit,
    in_words,
    is_damaged,
    is_out_of_row_ids,
)
from lorapipe.pipeline.database_files import identity, make_private, may_be_written, set_aside
from lorapipe.pipeline.locks import Busy, holding

P = ParamSpec("P")
T = TypeVar("T")
TRY_SECONDS = 1.0
"""Seconds between attempts to open a file that could not be written."""


class Owner(Protocol):
    """A class whose methods use a database."""

    @property
    def database(self) -> Database:
        """The database that the methods use."""
        ...


def mended(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Decorate a method of an `Owner`: if it meets damage, repair the file and call it again. Raises `Unavailable`."""

    @functools.wraps(method)
    def call(self: Owner, /, *values: P.args, **named: P.kwargs) -> T:
        database = self.database
        if database.is_entered:  # only the outermost method is repeated, so that whole transactions are
            return method(self, *values, **named)
        for again in (True, False):
            with database.entered() as seen:
                try:
                    return method(self, *values, **named)
                except sqlite3.Error as error:
                    database.mend(error, seen, again)
                except UnicodeDecodeError as error:  # a name in a damaged file
                    database.mend(Unfit(str(error)), seen, again)
        raise AssertionError

    return call


class Database:
    """One database file; with `None`, or if nothing can be written, a temporary one in memory. Raises `Unavailable`."""

    def __init__(self, path: Path | None, content: Content) -> None:
        self.path = path
        self.guard = threading.RLock()
        """Held by the thread that uses the connection."""
        self._content = content
        self._entered = threading.local()
        self._file: tuple[int, int] | None = None
        self._where_missing = "was missing"
        self._refused: Unavailable | None = None
        self._tried = 0.0
        self.openings = 0
        """Number of times the file was opened; changes when the connection is replaced."""
        self.connection = self._open()

    def close(self) -> None:
        """Close the file."""
        with self.guard:
            self._file = None
            self.connection.close()

    @property
    def is_entered(self) -> bool:
        """Whether this thread is inside a `mended` method."""
        return getattr(self._entered, "here", False)

    @property
    def is_later(self) -> bool:
        """Whether a later version has added to the tables."""
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        return int(version) > self._content.tables.version

    @contextmanager
    def entered(self) -> Iterator[sqlite3.Connection]:
        """Give this thread the connection, reopened if the file was replaced."""
        self._follow()
        self._entered.here = True
        try:
            yield self.connection
        finally:
            self._entered.here = False

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction."""
        with self.guard:
            db = self.connection
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # it was rolled back already
                    db.execute("ROLLBACK")
                raise

    def mend(self, error: sqlite3.Error, seen: sqlite3.Connection, again: bool) -> None:
        """Repair the file after an error on the connection `seen`. Raises `Unavailable` if it cannot be repaired."""
        if isinstance(error, LorapipeError):
            raise error
        with self.guard:
            if self.connection is not seen and again:
                return  # another thread has repaired it
            if self.path is None or not again or self._file is None:
                raise in_words(error, self.path, self._refused) from None
            if not (is_damaged(self.path, error) or is_out_of_row_ids(seen, error)):
                raise in_words(error, self.path, self._refused) from None
            seen.close()
            self.connection = self._rebuilt(self.path, str(error), self._file)

    def become_read_only(self, trouble: Unavailable) -> None:
        """Continue in memory, because the file cannot be written."""
        with self.guard:
            self.connection.close()
            path, self._file = self.path, None
            self.connection = self._in_memory() if path is None else self._opened_read_only(path, trouble)

    # ---------------------------------------------------------------------------------------------------------- opening

    def _follow(self) -> None:
        """Reopen the file if another process has replaced it, or if it was deleted."""
        if self._refused is not None and self._content.sole and time.monotonic() - self._tried > TRY_SECONDS:
            with self.guard:  # the disk may have space now
                self.connection.close()
                self.connection = self._open()
        if self._file is None or self.path is None:
            return
        try:
            if identity(self.path) == self._file:
                return
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return
        with self.guard:
            if not self.connection.in_transaction:
                self.connection.close()
                self.connection = self._open()

    def _open(self) -> sqlite3.Connection:
        self._file = None
        path = self.path
        if path is None or not (self._content.sole or path.parent.is_dir()):
            return self._in_memory()
        if not may_be_written(path):
            return self._in_memory(copy_of=path)
        try:
            return self._usable(path)
        except FileNotFoundError:
            return self._rebuilt(path, self._where_missing, None)
        except Changed:
            return self._own_version(path)
        except sqlite3.Error as error:
            if not is_damaged(path, error):
                return self._opened_read_only(path, in_words(error, self.path, self._refused))
            return self._rebuilt(path, str(error), None)
        except OSError as error:
            return self._opened_read_only(path, Unavailable(problem_of(error, str(path))))

    def _usable(self, path: Path) -> sqlite3.Connection:
        """Open a valid file. Raises `FileNotFoundError`, `Changed` or `sqlite3.Error`."""
        db = self._content.opened(path)
        try:
            self._file = identity(path)
        except OSError:  # it was deleted meanwhile
            db.close()
            raise
        self.openings += 1
        self._refused = None
        return db

    def _in_memory(self, copy_of: Path | None = None) -> sqlite3.Connection:
        db = self._content.in_memory() if copy_of is None else self._content.copied_in_memory(copy_of)
        self.openings += 1
        return db

    def _own_version(self, path: Path) -> sqlite3.Connection:
        if self._content.sole:
            what = "was changed by a later lorapipe, which this one cannot read."
            raise Unavailable(
                what, where=str(path), cure="Update this lorapipe, or give it another folder (LORAPIPE_HOME)."
            )
        self.path = path.with_name(f"{path.stem}.v{self._content.tables.version}{path.suffix}")
        self._where_missing = f"replaces {path.name}, which a later lorapipe has changed"
        return self._open()

    def _opened_read_only(self, path: Path, trouble: Unavailable) -> sqlite3.Connection:
        """Open for reading if nothing can be written, so that users can free space on a full disk.

        Raises the trouble if there is nothing to read, or if another program has locked the file.
        """
        if isinstance(trouble, Locked) or (self._content.sole and not path.exists()):
            raise trouble
        if self._refused is None:
            _warn("%s It is opened read-only.", trouble)
        self._refused, self._tried = trouble, time.monotonic()
        return self._in_memory(copy_of=path)

    # -------------------------------------------------------------------------------------------------------- repairing

    def _rebuilt(self, path: Path, why: str, seen: tuple[int, int] | None) -> sqlite3.Connection:
        """Set a damaged file aside and build a new one, or use the one that another process has built."""
        try:
            lock = path.with_name(f"{path.stem}.lock")
            with holding(lock, _wait_for_repair(path)):
                if self._content.private:
                    make_private(lock)
                built = self._built_by_another(path, seen)
                if built is not None:
                    return built
                aside = set_aside(path)
                sources = self._content.build(path, aside)
                db = self._usable(path)
        except sqlite3.Error as error:
            return self._opened_read_only(path, in_words(error, self.path, self._refused))
        except OSError as error:
            return self._opened_read_only(path, Unavailable(problem_of(error, str(path))))
        if aside is not None:
            _warn(
                "%s was damaged (%s): rebuilt %s; the damaged file is kept as %s.",
                path, " ".join(why.split())[:200], f"from {sources}" if sources else "empty", aside.name,
            )  # fmt: skip
        elif sources:
            _warn("%s %s: rebuilt from %s.", path, why, sources)
        return db

    def _built_by_another(self, path: Path, seen: tuple[int, int] | None) -> sqlite3.Connection | None:
        try:
            if seen is None or identity(path) != seen:
                return self._usable(path)
        except FileNotFoundError:
            pass
        except sqlite3.Error as error:
            if not is_damaged(path, error):
                raise
        return None


def _warn(text: str, *values: object) -> None:
    import logging  # seldom needed

    logging.getLogger("lorapipe").warning(text, *values)


def _wait_for_repair(path: Path) -> Callable[[Busy], None]:
    """Return a function that waits for another process that repairs the same file, up to a limit."""
    deadline = time.monotonic() + 2 * database_files.PATIENCE_SECONDS

    def wait(busy: Busy) -> None:
        if time.monotonic() > deadline:
            cure = "Try again when it has ended."
            raise Locked(f"is being repaired by {busy.who}, which takes too long.", where=str(path), cure=cure)

    return wait

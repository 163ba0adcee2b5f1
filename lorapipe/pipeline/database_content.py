"""How a database's connections are opened, and its file is built: what `Database` does with one file at one time."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lorapipe.pipeline.database_errors import Unfit
from lorapipe.pipeline.database_files import connect, copied, make_private
from lorapipe.pipeline.database_schema import Tables

Refill: TypeAlias = Callable[[sqlite3.Connection, Path | None], str]
"""Fills new tables, also from the file that was set aside if there is one; returns the sources, as text, or ""."""

DURABLE = ("synchronous=FULL", "fullfsync=ON")
"""Pragmas for a database whose data is nowhere else: sync at every commit; macOS needs the second."""


def _nothing(db: sqlite3.Connection) -> None:
    pass


@dataclass(frozen=True)
class Content:
    """What is in a database, and how it is opened.

    `private` files can be read only by their user; `check` verifies every page when the file is opened; `prepare` is called
    with each new connection. `sole` means that the data is nowhere else: no database in memory, and no other file beside one
    that a later version has changed, may take its place.
    """

    tables: Tables
    refill: Refill
    private: bool = False
    check: bool = False
    sole: bool = False
    prepare: Callable[[sqlite3.Connection], None] = _nothing

    def opened(self, path: Path) -> sqlite3.Connection:
        """Open a valid file. Raises `FileNotFoundError`, `Changed` or `sqlite3.Error`."""
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unfit("it is not a file")
        if self.private:
            make_private(path)
        with ExitStack() as unless_valid:
            db = unless_valid.enter_context(closing(connect(path)))
            try:
                self._make_valid(db)
            except UnicodeDecodeError as error:
                raise Unfit(str(error)) from None
            unless_valid.pop_all()
        return db

    def _make_valid(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode=WAL")
        for pragma in DURABLE if self.sole else ("synchronous=NORMAL",):
            db.execute(f"PRAGMA {pragma}")
        self.tables.migrate(db)
        if not self.tables.fit(db):
            raise Unfit("a table or column is missing")
        if self.check and (found := db.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
            raise Unfit(str(found[0]) if found else "damaged")
        self.prepare(db)

    def in_memory(self) -> sqlite3.Connection:
        """Make a database in memory, filled from the other sources."""
        db = _empty()
        self.tables.make(db)
        self.refill(db, None)
        return self._kept_in_memory(db)

    def copied_in_memory(self, path: Path) -> sqlite3.Connection:
        """Copy what can be read of a file in a read-only folder into memory."""
        with suppress(OSError, sqlite3.Error), ExitStack() as stack:
            import tempfile  # seldom needed

            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lorapipe-"))
            read = stack.enter_context(closing(connect(copied(path, Path(folder)))))
            self.tables.migrate(read)
            if self.tables.fit(read):
                db = _empty()
                read.backup(db)
                return self._kept_in_memory(db)
        return self.in_memory()

    def _kept_in_memory(self, db: sqlite3.Connection) -> sqlite3.Connection:
        self.prepare(db)
        if self.sole:
            db.execute("PRAGMA query_only=ON")
        return db

    def build(self, path: Path, aside: Path | None) -> str:
        """Build a new file, rename it into place, and return its sources as text."""
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if self.private else 0o666))
        try:
            with closing(connect(new)) as db:
                db.execute("PRAGMA journal_mode=MEMORY")
                db.execute("BEGIN IMMEDIATE")
                self.tables.make(db)
                sources = self.refill(db, aside)
                db.execute("COMMIT")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
        return sources


def _empty() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

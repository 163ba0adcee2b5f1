"""The schema of a database: the statements that create its tables, and migrations from earlier versions."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

from lorapipe.pipeline.database_errors import Changed, Unfit


@dataclass(frozen=True)
class Tables:
    """A database's version, the statements that create its tables, and the migrations from earlier versions."""

    version: int
    schema: str
    steps: Mapping[int, str] = field(default_factory=dict)
    """Version → statements that migrate to the next one."""

    def make(self, db: sqlite3.Connection) -> None:
        """Create the tables in an empty database."""
        _script(db, self.schema)
        db.execute(f"PRAGMA user_version={self.version}")

    @functools.cached_property
    def columns(self) -> dict[str, frozenset[str]]:
        """The columns of each table."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            self.make(db)
            return {name: _columns(db, name) for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE sql > ''")
                    if _columns(db, name)}  # fmt: skip

    def fit(self, db: sqlite3.Connection) -> bool:
        """Whether a database has all tables with all columns."""
        return all(columns <= _columns(db, name) for name, columns in self.columns.items())

    def migrate(self, db: sqlite3.Connection) -> None:
        """Migrate an earlier version. Raises `Changed` if a later version has changed the tables, not only added to them."""
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > self.version and not self.fit(db):
            raise Changed
        if version >= self.version:
            return
        if db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None:
            raise Unfit("it is empty")
        db.execute("BEGIN IMMEDIATE")
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version < self.version:
                for each in sorted(self.steps):
                    _script(db, self.steps[each] if version <= each else "")
                if not self.fit(db):
                    raise Unfit("a table or column is missing")
                db.execute(f"PRAGMA user_version={self.version}")
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise


def _script(db: sqlite3.Connection, statements: str) -> None:
    for statement in filter(str.strip, statements.split(";")):  # executescript would end the transaction
        db.execute(statement)


def _columns(db: sqlite3.Connection, table: str) -> frozenset[str]:
    return frozenset(row[1] for row in db.execute(f"PRAGMA table_info({table})"))

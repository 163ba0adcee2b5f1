"""What can still be read of a damaged database, row by row.

Damage is a matter of pages: a table is read up to the first page that cannot be, and on from the next that can.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
LAST = 2**63 - 1
MOST_GAPS = 10_000
"""Unreadable places after which the rest of a table is given up."""


@dataclass
class Salvage:
    """The rows of each table by their rowid; `is_whole` where nothing has hindered the reading."""

    tables: dict[str, dict[int, Row]] = field(default_factory=dict)
    is_whole: bool = True


def salvage(path: Path, tables: Iterable[str]) -> Salvage:
    """Read tables (with rowids) of a file that is left as it is."""
    found = Salvage({table: {} for table in tables})
    try:
        if not path.is_file():  # a pipe would be waited for
            raise OSError
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except (OSError, sqlite3.Error):
        found.is_whole = False
        return found
    with closing(db):
        db.text_factory = _text
        for table, rows in found.tables.items():
            try:
                for number, row in _rows(db, table, found):
                    rows[number] = row
            except sqlite3.Error:  # not even where it begins can be read
                found.is_whole = False
        try:
            found.is_whole = found.is_whole and db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except sqlite3.Error:
            found.is_whole = False
    return found


def _rows(db: sqlite3.Connection, table: str, found: Salvage) -> Iterator[tuple[int, Row]]:
    """The rows in order, past all that cannot be read."""
    start = -LAST
    for _ in range(MOST_GAPS):
        try:
            cursor = db.execute(f"SELECT rowid, * FROM {table} WHERE rowid >= ? ORDER BY rowid", (start,))
            names = [each[0] for each in cursor.description][1:]
            for number, *values in cursor:
                yield number, dict(zip(names, values, strict=True))
                if number == LAST:
                    return
                start = number + 1
            return
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            found.is_whole = False
            after = _readable_from(db, table, max(start, 0))
            if after is None:
                return
            start = after


def _readable_from(db: sqlite3.Connection, table: str, bad: int) -> int | None:
    """The first rowid after a bad place from which on something can be read."""
    step = 1
    while not _is_readable(db, table, bad + step):
        if bad + step > 2**40:
            return None
        step *= 2
    low, high = bad + step // 2, bad + step
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_readable(db, table, middle) else (middle, high)
    return high


def _is_readable(db: sqlite3.Connection, table: str, start: int) -> bool:
    try:
        query = f"SELECT rowid FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"
        return db.execute(query, (start,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return False


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")

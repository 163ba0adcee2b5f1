"""Recover rows from a damaged database.


Damage affects pages: a table is read up to the first unreadable page, and again from the next readable one.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

Row = dict[str, object]
LAST = 2**63 - 1
MOST_GAPS = 200
"""Most unreadable ranges before the rest of a table is skipped."""
FAR = 1 << 31
"""Rows beyond this id are not searched for."""
MOST_BYTES = 1 << 32
"""A longer file length in the header is itself damage."""


@dataclass
class Salvage:
    """The rows of each table by rowid; `is_whole` if everything was readable."""

    tables: dict[str, dict[int, Row]] = field(default_factory=dict)
    is_whole: bool = True


def salvage(path: Path, tables: Sequence[str]) -> Salvage:
    """Read tables (with rowids) from a copy of a file.

    It is read with its journal and without, since the journal may belong to another file; the result with more rows is used.
    """
    found = [_read(path, tables, journal) for journal in ("-wal", None)]
    return max(found, key=lambda each: sum(map(len, each.tables.values())))


def _read(path: Path, tables: Sequence[str], journal: str | None) -> Salvage:
    found = Salvage({table: {} for table in tables}, is_whole=False)
    with suppress(OSError, sqlite3.Error), ExitStack() as stack:
        copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lorapipe-"))) / "copy.db"
        for suffix in ("", journal):
            file = path.with_name(f"{path.name}{suffix}")
            if suffix is not None and file.is_file():  # a pipe would be waited for
                shutil.copyfile(file, copy.with_name(f"{copy.name}{suffix}"))
        _lengthen(copy)
        db = stack.enter_context(closing(sqlite3.connect(copy, isolation_level=None)))
        db.text_factory = _text
        found.is_whole = True
        for table in tables:
            _read_table(db, table, found)
        found.is_whole = found.is_whole and _is_sound(db)
    return found


def _lengthen(file: Path) -> None:
    """Extend a truncated file to the length in its header: otherwise SQLite reads nothing of it."""
    with file.open("r+b") as opened:
        header = opened.read(32)
        size = int.from_bytes(header[16:18], "big")
        length = int.from_bytes(header[28:32], "big") * (65536 if size == 1 else size)
        if len(header) == 32 and file.stat().st_size < length < MOST_BYTES:
            opened.truncate(length)


def _read_table(db: sqlite3.Connection, table: str, found: Salvage) -> None:
    try:
        for number, row in _rows(db, table, found):
            found.tables[table][number] = row
    except (sqlite3.Error, UnicodeDecodeError):  # even the table's start cannot be read
        found.is_whole = False


def _is_sound(db: sqlite3.Connection) -> bool:
    try:
        return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def _rows(db: sqlite3.Connection, table: str, found: Salvage) -> Iterator[tuple[int, Row]]:
    """Yield the rows in order, skipping unreadable ranges."""
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
        except sqlite3.DatabaseError as error:
            found.is_whole = False
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                return
            after = _readable_from(db, table, max(start, 0))
            if after is None:
                return
            start = after


def _readable_from(db: sqlite3.Connection, table: str, bad: int) -> int | None:
    """Return the first readable rowid after an unreadable one: exactly if it is near, else approximately."""
    step, last = 1.0, bad
    while bad + step < FAR:
        start = bad + int(step)
        if _is_readable(db, table, start):
            return _first_readable(db, table, last + 1, start)
        step, last = max(step + 1, step * 1.1), start
    return None


def _first_readable(db: sqlite3.Connection, table: str, low: int, high: int) -> int:
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_readable(db, table, middle) else (middle + 1, high)
    return high


def _is_readable(db: sqlite3.Connection, table: str, start: int) -> bool:
    try:
        query = f"SELECT rowid FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"
        return db.execute(query, (start,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return False


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")

"""The queue's database: its tables, and their recovery after damage.


Jobs are recorded nowhere else, so every change also goes to a journal. After damage, the journal's rows take precedence, and
missing ones are salvaged from the damaged file; if only tables or columns are missing, the file's rows take precedence.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from lorapipe.job_queue.journal import KEPT, MOST, Journal, Row, is_sound
from lorapipe.pipeline.database import Database
from lorapipe.pipeline.database_content import Content
from lorapipe.pipeline.database_recovery import Salvage, salvage
from lorapipe.pipeline.database_schema import Tables

SCHEMA = """
CREATE TABLE job (
  number INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, pipeline TEXT, sets TEXT, device TEXT, priority INT,
  position REAL, state TEXT, asked INT DEFAULT 0, crashes INT DEFAULT 0, attempts INT DEFAULT 0, told INT DEFAULT 0,
  added REAL, started REAL, finished REAL, reason TEXT DEFAULT '', run INT,
  source TEXT DEFAULT '', fingerprint TEXT DEFAULT '', version INT DEFAULT 1, settings TEXT DEFAULT '{}'
);
CREATE INDEX job_by_state ON job (state);
CREATE TABLE dropped (source TEXT, fingerprint TEXT, version INT, number INT, PRIMARY KEY (source, fingerprint));
CREATE TABLE place (source TEXT PRIMARY KEY, folder TEXT, folded TEXT UNIQUE);
CREATE TABLE progress (number INTEGER PRIMARY KEY, at REAL, told TEXT);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT);
"""
TABLES = Tables(1, SCHEMA)


def open_database(path: Path, journal: Journal) -> Database:
    """Open the database; create it if missing. Raises `Unavailable` if it cannot be used."""

    def refill(db: sqlite3.Connection, aside: Path | None) -> str:
        known = journal.read()
        kept = Salvage({table: {} for table in KEPT}, is_whole=False) if aside is None else salvage(aside, KEPT)
        counts = {table: _fill(db, table, known[table], kept) for table in KEPT}
        numbers = [*known["job"], *kept.tables["job"], *(row[0] for row in db.execute("SELECT number FROM dropped"))]
        last = max([0, *(each for each in numbers if isinstance(each, int) and each < MOST)])
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'job'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('job', ?)", (last,))
        if last:
            journal.keep_aside()
            journal.write(db)
        return f"{counts['job']} {'job' if counts['job'] == 1 else 'jobs'}" if last else ""

    return Database(path, Content(TABLES, refill, private=True, check=True, sole=True, prepare=journal.watch))


def _fill(db: sqlite3.Connection, table: str, known: Mapping[int, Row | None], kept: Salvage) -> int:
    """Refill a table; return the number of its rows."""
    numbers = kept.tables[table].keys() | (set() if kept.is_whole else {number for number, row in known.items() if row})
    return sum(
        _put(db, table, number, _versions(number, known, kept.tables[table], kept.is_whole))
        for number in sorted(numbers)
    )


def _versions(number: int, known: Mapping[int, Row | None], kept: Mapping[int, Row], is_whole: bool) -> list[Row]:
    """Return candidates for a row, the most likely first; columns that one source lacks come from the other."""
    from_file, from_journal = kept.get(number, {}), known.get(number, {})
    if from_journal is None:  # the row was deleted
        return [from_file] if is_whole else []
    versions = [{**from_file, **from_journal}, {**from_journal, **from_file}]
    return versions[::-1] if is_whole else versions


def _put(db: sqlite3.Connection, table: str, number: int, versions: Iterable[Row]) -> int:
    for version in versions:
        row = {name: value for name, value in version.items() if name in TABLES.columns[table]}
        if table != "job" or is_sound(row | {"number": number}):
            names, marks = ", ".join(["rowid", *row]), ", ".join("?" * (len(row) + 1))
            query = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
            return db.execute(query, (number, *row.values())).rowcount
    return 0

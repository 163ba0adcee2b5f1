"""queue.jsonl: a journal of all changes of the queue beside the database, so that no job is lost if that is damaged.

    {"table": "job", "id": 12, "row": {"number": 12, "title": "penny", …}}     the new row
    {"table": "job", "id": 11}                                                 the row was deleted

Lines are appended within the transaction of the change, so they are in its order. When the file has grown much larger than
the queue, it is rewritten from the database.

Triggers in the database record which rows have changed. So changes of an older lorapipe without a journal, and of processes
that could not write it, are added by the next process that can.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from lorapipe.job_queue.job import State
from lorapipe.regular_files import lines_of

KEPT = ("job", "dropped", "place", "setting")
"""The tables in the journal; progress is temporary."""
Row = dict[str, Any]
SPARE_BYTES = 1 << 20
ROW_BYTES = 1500
"""The file is rewritten when it exceeds `ROW_BYTES` per row plus `SPARE_BYTES`."""

WATCH = "CREATE TABLE changed (name TEXT, id INT, PRIMARY KEY (name, id)) WITHOUT ROWID"
TRIGGERS = (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))

MOST = 2**53
"""Greater numbers are not jobs."""
STATES = get_args(State)
TEXTS = ("title", "pipeline", "sets", "device", "state", "reason", "source", "fingerprint", "settings")
NUMBERS = ("priority", "position", "asked", "crashes", "attempts", "told", "added", "version")


class Journal:
    """The journal of one queue. If it cannot be written, it is rewritten at the next change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_behind = False

    def watch(self, db: sqlite3.Connection) -> None:
        """Add triggers to a database that record which rows change. Earlier changes are unknown to the journal."""
        db.execute("PRAGMA recursive_triggers=ON")  # so that REPLACE runs the delete trigger
        if _is_watched(db):
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            if not _is_watched(db):  # another process was faster
                db.execute(WATCH)
                for table in KEPT:
                    for event, row in TRIGGERS:
                        note = f"INSERT OR IGNORE INTO changed (name, id) VALUES ('{table}', {row}.rowid)"
                        db.execute(f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN {note}; END")
                self._is_behind = True
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def is_behind(self, db: sqlite3.Connection) -> bool:
        """Whether the queue has changes that are not in the journal yet."""
        return self._is_behind or db.execute("SELECT 1 FROM changed LIMIT 1").fetchone() is not None

    def note(self, db: sqlite3.Connection) -> None:
        """Append the changed rows, including those of the current transaction."""
        changed = db.execute("SELECT name, id FROM changed ORDER BY name, id").fetchall()
        if not changed and not self._is_behind:
            return
        try:
            size = self._append("".join(_changed_lines(db, changed)))
        except OSError:
            self._is_behind = True
            return
        if size is None or (size > SPARE_BYTES and size > SPARE_BYTES + ROW_BYTES * _count(db)):
            self.write(db)
        if not self._is_behind:
            db.execute("DELETE FROM changed")

    def write(self, db: sqlite3.Connection) -> None:
        """Rewrite the journal from the queue."""
        part = self.path.with_name(f"{self.path.name}.new")
        try:
            part.unlink(missing_ok=True)
            opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "w", encoding="utf-8", errors="surrogatepass") as file:
                file.writelines(_line("job", number, None) for number in _last_number(db))
                for table in KEPT:
                    for number, row in _rows(db, table):
                        file.write(_line(table, number, row))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
            self._is_behind = False
        except OSError:
            self._is_behind = True

    def keep_aside(self) -> None:
        """Rename the file before a version rewrites it that may not understand all of it."""
        with suppress(OSError):
            self.path.replace(self.path.with_name(f"{self.path.stem}.old{self.path.suffix}"))

    def read(self) -> dict[str, dict[int, Row | None]]:
        """Return the last state of every row, by table and rowid; None if it was deleted. Truncated lines are skipped."""
        found: dict[str, dict[int, Row | None]] = {table: {} for table in KEPT}
        for line in lines_of(self.path):
            try:
                told = json.loads(line)
                row, number = told.get("row"), told["id"]
                if isinstance(number, int) and (row is None or isinstance(row, dict)):
                    found[told["table"]][number] = row
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
        return found

    def _append(self, text: str) -> int | None:
        """Append lines; return the file's size, or None if it has to be rewritten."""
        if self._is_behind or not self.path.is_file():
            return None
        opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(opened, "ab") as file:
            file.write(
                f"\n{text}".encode("utf-8", "surrogatepass")
            )  # the line break ends an incomplete line of a killed process
            return file.tell()


def _is_watched(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'changed'").fetchone() is not None


def _line(table: str, number: int, row: Row | None) -> str:
    told = {"table": table, "id": number, **({} if row is None else {"row": row})}
    return json.dumps(told, ensure_ascii=False, default=str) + "\n"


def _changed_lines(db: sqlite3.Connection, changed: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Yield the lines of changed rows, without invalid ones."""
    for table, number in changed:
        row = _row(db, table, number) if table in KEPT else None
        if table in KEPT and (table != "job" or not row or is_sound(row)):
            yield _line(table, number, row)


def _row(db: sqlite3.Connection, table: str, number: int) -> Row | None:
    cursor = db.execute(f"SELECT * FROM {table} WHERE rowid = ?", (number,))
    row = cursor.fetchone()
    return None if row is None else dict(zip([each[0] for each in cursor.description], row, strict=True))


def _rows(db: sqlite3.Connection, table: str) -> Iterator[tuple[int, Row]]:
    cursor = db.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid")
    names = [each[0] for each in cursor.description][1:]
    for number, *values in cursor:
        yield number, dict(zip(names, values, strict=True))


def _count(db: sqlite3.Connection) -> int:
    return sum(int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in KEPT)


def _last_number(db: sqlite3.Connection) -> list[int]:
    """Return the number of the last job, cleared ones included, since numbers are never reused."""
    return [int(number) for (number,) in db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'job'")]


def is_sound(job: Row) -> bool:
    """Whether a row is valid: a damaged file may contain anything."""
    try:
        sets, settings = json.loads(job["sets"]), json.loads(job.get("settings", "{}"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    texts = all(isinstance(job.get(name, ""), str) for name in TEXTS)
    numbers = all(isinstance(job.get(name, 0), (int, float)) for name in NUMBERS)
    lists = isinstance(sets, list) and all(isinstance(each, str) for each in sets) and isinstance(settings, dict)
    return texts and numbers and lists and job.get("state") in STATES and 0 < job["number"] < MOST

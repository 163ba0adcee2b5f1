"""ledger.db: an index that can be rebuilt from the manifests in the store and the runs' files.

It has digests of files by their stat, results, and which run used which result. SQLite runs in WAL mode, so several runs and
readers work at the same time; see `database` for repairs. With `synchronous=NORMAL` a commit does not wait for the disk: a
power cut may lose the last commits, which are made again. The end of a run is synced, with everything before it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lorapipe.pipeline.database import Database, mended
from lorapipe.pipeline.database_content import Content
from lorapipe.pipeline.database_errors import Locked, Unavailable
from lorapipe.pipeline.database_schema import Tables
from lorapipe.pipeline.manifest import Manifest
from lorapipe.pipeline.run_files import MOST, RunFiles

Stat = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns, inode: if they are equal, so are the bytes."""

DIGEST = """
CREATE TABLE digest (path TEXT PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT, inode INT, digest TEXT) WITHOUT ROWID
"""
USED = """
CREATE TABLE used (
    pipeline TEXT, stage TEXT, type TEXT, key TEXT, run INT, at REAL, PRIMARY KEY (pipeline, stage, type, key)
) WITHOUT ROWID
"""
"""Each result of a stage, and the last run that used it. It grows with results, not with runs."""
RUN = "CREATE TABLE run (id INTEGER PRIMARY KEY, pipeline TEXT, started REAL, finished REAL, status TEXT)"
FROM_1 = f"""
ALTER TABLE used RENAME TO used_1;
{USED};
INSERT INTO used (pipeline, stage, type, key, run, at)
SELECT pipeline, stage, type, key, max(run), max(at) FROM used_1 GROUP BY pipeline, stage, type, key;
DROP TABLE used_1
"""
"""Version 1 had a row for every use."""
TABLES = Tables(2, ";".join((DIGEST, RUN, USED)), {1: FROM_1})


OVER = "finished IS NOT NULL"
ADD = "INSERT INTO run (id, pipeline, started, finished, status) VALUES (?, ?, ?, ?, ?)"
END = "ON CONFLICT DO UPDATE SET finished = excluded.finished, status = excluded.status WHERE run.finished IS NULL"
USE = "INSERT INTO used (pipeline, stage, type, key, run, at) VALUES (?, ?, ?, ?, ?, ?)"
LATER = "ON CONFLICT DO UPDATE SET run = excluded.run, at = excluded.at WHERE excluded.at >= used.at"


class RunHistory(Protocol):
    """The sources from which the database can be rebuilt."""

    def manifests(self) -> Iterable[Manifest]:
        """Return the manifests of all results in the store."""
        ...

    def run_numbers(self) -> list[int]:
        """Return the runs whose files exist."""
        ...

    def run_files(self, numbers: Iterable[int], manifests: Mapping[str, Manifest]) -> Iterable[RunFiles]:
        """Return the contents of these runs' files."""
        ...


class LedgerDatabase:
    """The database of one store; without a file (`None`), a temporary one in memory.

    It is rebuilt from `past` if it is new or damaged; `private` files can be read only by their user.
    """

    def __init__(self, path: Path | None, past: RunHistory | None = None, *, private: bool = False) -> None:
        self._past = past
        self._uses: list[tuple[object, ...]] = []
        self.database = Database(path, Content(TABLES, self._refill, private=private))

    def close(self) -> None:
        """Write pending rows and close the file."""
        try:
            self.flush()
        finally:
            self.database.close()

    def complete(self) -> None:
        """Fill an empty database from the manifests and the runs' files; in memory if it cannot be written."""
        try:
            self._complete()
        except Locked:
            raise
        except Unavailable as trouble:
            self.database.become_read_only(trouble)
            self._complete()

    @mended
    def _complete(self) -> None:
        if self.database.connection.execute("SELECT 1 FROM used LIMIT 1").fetchone() is None:
            with self.database.writing() as db:
                self._refill(db, None)

    @mended
    def catch_up(self) -> None:
        """Add runs whose files exist but that are not in the database, such as those of another version or of a copy.

        Also add what they used, so that these results count as used.
        """
        if self._past is None:
            return
        known = {number for (number,) in self.database.connection.execute(f"SELECT id FROM run WHERE {OVER}")}
        missing = [number for number in self._past.run_numbers() if number not in known]
        if missing:
            manifests = {str(each["key"]): each for each in self._past.manifests()}
            files = [*self._past.run_files(missing, manifests)]
            with self.database.writing() as db:
                db.executemany(f"{ADD} {END}", [each.row for each in files])
                db.executemany(f"{USE} {LATER}", [use for each in files for use in _used(each, manifests)])

    @mended
    def digests(self, folder: str) -> dict[str, tuple[Stat, str]]:
        """Return the cached stat and digest of the files below a folder."""
        query = "SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM digest WHERE path >= ? AND path < ?"
        below = folder.rstrip(os.sep) + os.sep
        if not _can_be_kept(below):
            return {}
        rows = self.database.connection.execute(query, (below, below[:-1] + chr(ord(os.sep) + 1)))
        return {path: ((size, mtime, ctime, inode), digest) for path, size, mtime, ctime, inode, digest in rows}

    @mended
    def remember(self, digests: Iterable[tuple[str, Stat, str]]) -> None:
        """Cache digests of files."""
        rows = [(path, *stat, digest) for path, stat, digest in digests if _can_be_kept(path, *stat)]
        with self.database.writing() as db:
            db.executemany(
                "INSERT OR REPLACE INTO digest (path, size, mtime_ns, ctime_ns, inode, digest) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )

    @mended
    def begin(self, pipeline: str, least: int = 1) -> int:
        """Add a run and return its number, at least `least`: a new database may not know the folders of earlier runs."""
        with self.database.writing() as db:
            (last,) = db.execute("SELECT max(id) FROM run WHERE id < ?", (MOST,)).fetchone()
            number = max(least, (last or 0) + 1)
            while db.execute("SELECT 1 FROM run WHERE id = ?", (number,)).fetchone():
                number += 1
            db.execute("INSERT INTO run (id, pipeline, started) VALUES (?, ?, ?)", (number, pipeline, time.time()))
        return number

    @mended
    def runs(self) -> list[tuple[int, str, float, float | None, str]]:
        """Return all runs, the last first: number, pipeline, start, end and status (`running` if there is none)."""
        query = """
            SELECT id, CAST(ifnull(pipeline, '?') AS TEXT), CAST(ifnull(started, 0) AS REAL), CAST(finished AS REAL),
                   CAST(ifnull(status, 'running') AS TEXT) FROM run ORDER BY id DESC"""
        return self.database.connection.execute(query).fetchall()

    @mended
    def last_used(self) -> dict[str, float]:
        """Return the time at which each result was last made or reused, by key."""
        self.flush()
        query = "SELECT key, max(CAST(ifnull(at, 0) AS REAL)) FROM used GROUP BY key"
        return dict(self.database.connection.execute(query))

    @mended
    def current(self) -> set[str]:
        """Return the keys that the last run of each pipeline has used."""
        self.flush()
        last = "SELECT pipeline, max(run) AS run FROM used GROUP BY pipeline"
        query = (
            f"SELECT key FROM used JOIN ({last}) AS last ON used.pipeline IS last.pipeline WHERE used.run IS last.run"
        )
        return {key for (key,) in self.database.connection.execute(query)}

    @mended
    def end(self, run: int, status: str) -> None:
        """Record the end of a run: `done`, `failed` or `interrupted`."""
        self.flush()
        db = self.database.connection
        db.execute("PRAGMA synchronous=FULL")
        with self.database.writing() as db:
            db.execute("UPDATE run SET finished=?, status=? WHERE id=?", (time.time(), status, run))
        db.execute("PRAGMA synchronous=NORMAL")

    def use(self, run: int | None, pipeline: str, stage: str, type_: str, key: str, at: float) -> None:
        """Record that a stage has made or reused a result. `flush` writes it."""
        self._uses.append((pipeline, stage, type_, key, run, at))

    @mended
    def flush(self) -> None:
        """Write all pending uses at once: a run may reuse a thousand results in a tenth of a second."""
        if self._uses:
            with self.database.writing() as db:
                _use(db, self._uses)
            self._uses.clear()

    @mended
    def last_key(self, pipeline: str, stage: str, type_: str) -> str | None:
        """Return the key of a stage's last result."""
        self.flush()
        query = "SELECT key FROM used WHERE pipeline=? AND stage=? AND type=? ORDER BY at DESC LIMIT 1"
        row = self.database.connection.execute(query, (pipeline, stage, type_)).fetchone()
        return None if row is None else str(row[0])

    def _refill(self, db: sqlite3.Connection, aside: Path | None) -> str:
        """Fill empty tables, and return the sources as text. Digests are lost: files are read again."""
        if self._past is None:
            return ""
        manifests = {str(each["key"]): each for each in self._past.manifests()}
        numbers = self._past.run_numbers()
        runs = {each.number: each for each in self._past.run_files(numbers, manifests)}
        _use(db, [_made(each) for each in sorted(manifests.values(), key=lambda each: float(each["finished"]))])
        _use(db, [use for run in runs.values() for use in _used(run, manifests)])
        rows: dict[int, tuple[object, ...]] = {number: each.row for number, each in runs.items()}
        if aside is None:
            _add(db, rows.values())
            return _count(len(rows), "run") if rows else ""
        rows = {**_salvaged_runs(aside), **rows}
        _add(db, rows.values())
        return f"{_count(len(manifests), 'result')} and {_count(len(rows), 'run')}"


def _salvaged_runs(aside: Path) -> dict[int, tuple[object, ...]]:
    """Return the rows of runs that can still be read from a damaged database."""
    from lorapipe.pipeline.database_recovery import salvage  # seldom needed

    kept = salvage(aside, ["run"]).tables["run"]
    return {number: row for number, each in kept.items() if (row := _sound(each))}


def stat_of(path: Path | str) -> Stat:
    """Return the stat under which a file's digest is cached."""
    found = os.stat(path)  # noqa: PTH116 (half the time of Path.stat, for every picture of every plan)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _use(db: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    db.executemany("INSERT OR REPLACE INTO used (pipeline, stage, type, key, run, at) VALUES (?, ?, ?, ?, ?, ?)", rows)


def _add(db: sqlite3.Connection, runs: Iterable[tuple[object, ...]]) -> None:
    db.executemany("INSERT OR IGNORE INTO run (id, pipeline, started, finished, status) VALUES (?, ?, ?, ?, ?)", runs)


def _made(manifest: Manifest) -> tuple[object, ...]:
    who = (manifest["pipeline"], manifest["stage"], manifest["type"], manifest["key"])
    return (*who, None, float(manifest["finished"]))


def _used(run: RunFiles, manifests: Mapping[str, Manifest]) -> list[tuple[object, ...]]:
    at = run.started if run.finished is None else run.finished
    return [
        (run.pipeline, stage, manifests[key]["type"], key, run.number, at)
        for stage, key in run.used.items()
        if key in manifests
    ]


def _sound(row: Mapping[str, object]) -> tuple[object, ...] | None:
    """Return a run's row from a damaged file; None if its values are not plausible."""
    pipeline, started, finished, status = (row.get(name) for name in ("pipeline", "started", "finished", "status"))
    number = row.get("id")
    times = isinstance(started, float) and isinstance(finished, float | None)
    if isinstance(number, int) and 0 < number < MOST and isinstance(pipeline, str) and times:
        return number, pipeline, started, finished, status if isinstance(status, str) else None
    return None


def _can_be_kept(path: str, *numbers: int) -> bool:
    """Whether SQLite can store these: UTF-8 names and 64-bit numbers. Other files are read each time."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return all(-(2**63) <= number < 2**63 for number in numbers)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else noun + 's'}"

"""ledger.db: what can be looked up fast and, all of it, be made anew from the manifests in the store.

Digests of files by their stat, results, and which run used which result. SQLite in WAL mode, so that several runs and
readers go side by side; `synchronous=NORMAL`, so that a commit waits for no disk: a power cut may take back the last
commits, which are made again, and never harms the database. The end of a run is synced, and with it all that was before.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Stat = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns, inode: while they are the same, so are the bytes."""

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE digest (path TEXT PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT, inode INT, digest TEXT) WITHOUT ROWID;
CREATE TABLE run (id INTEGER PRIMARY KEY, pipeline TEXT, started REAL, finished REAL, status TEXT);
CREATE TABLE used (
    pipeline TEXT, stage TEXT, type TEXT, key TEXT, run INT, at REAL, PRIMARY KEY (pipeline, stage, type, key)
) WITHOUT ROWID;
"""
"""`used`: each result that a stage has had, and the last run that used it. It grows with results, not with runs."""


class Records:
    """The database of one store; without a file (`None`), one that lives in memory and is forgotten."""

    def __init__(self, path: Path | None) -> None:
        self._db = _connect(path)
        self._uses: list[tuple[Any, ...]] = []

    def close(self) -> None:
        """Write what is left to write and let go of the file."""
        self.flush()
        self._db.close()

    @property
    def is_new(self) -> bool:
        """True until anything was recorded: there may be manifests to read."""
        return self._db.execute("SELECT 1 FROM used LIMIT 1").fetchone() is None

    def digests(self, folder: str) -> dict[str, tuple[Stat, str]]:
        """What is remembered of the files below a folder: the stat that each had, and its digest."""
        query = "SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM digest WHERE path >= ? AND path < ?"
        below = folder.rstrip(os.sep) + os.sep
        rows = self._db.execute(query, (below, below[:-1] + chr(ord(os.sep) + 1)))
        return {path: ((size, mtime, ctime, inode), digest) for path, size, mtime, ctime, inode, digest in rows}

    def remember(self, digests: Iterable[tuple[str, Stat, str]]) -> None:
        """Keep digests of files."""
        rows = [(path, *stat, digest) for path, stat, digest in digests]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO digest VALUES (?, ?, ?, ?, ?, ?)", rows)

    def begin(self, pipeline: str, least: int = 1) -> int:
        """A new run's number, `least` or more: folders of earlier runs may be there though the database is new."""
        with self._db:
            query = "INSERT INTO run (id, pipeline, started) SELECT max(?, ifnull(max(id), 0) + 1), ?, ? FROM run"
            row = self._db.execute(query, (least, pipeline, time.time()))
        assert row.lastrowid is not None
        return row.lastrowid

    def runs(self) -> list[tuple[int, str, float, float | None, str]]:
        """All runs, the last first: number, pipeline, start, end and status (`running` while there is none)."""
        query = "SELECT id, pipeline, started, finished, ifnull(status, 'running') FROM run ORDER BY id DESC"
        return list(self._db.execute(query))

    def last_used(self) -> dict[str, float]:
        """When each result was last made or reused, by its key."""
        self.flush()
        return dict(self._db.execute("SELECT key, max(at) FROM used GROUP BY key"))

    def current(self) -> set[str]:
        """The keys that the last run of each pipeline has used: for each of its stages, the last one."""
        self.flush()
        query = "SELECT key FROM used u WHERE run IS (SELECT max(run) FROM used v WHERE v.pipeline = u.pipeline)"
        return {key for (key,) in self._db.execute(query)}

    def end(self, run: int, status: str) -> None:
        """A run is over: `done`, `failed` or `interrupted`."""
        self.flush()
        self._db.execute("PRAGMA synchronous=FULL")
        with self._db:
            self._db.execute("UPDATE run SET finished=?, status=? WHERE id=?", (time.time(), status, run))
        self._db.execute("PRAGMA synchronous=NORMAL")

    def use(self, run: int | None, pipeline: str, stage: str, type_: str, key: str, at: float) -> None:
        """A stage has this result, made or reused. `flush` writes it."""
        self._uses.append((pipeline, stage, type_, key, run, at))

    def flush(self) -> None:
        """Write what `use` was told, all at once: a run may reuse a thousand results in a tenth of a second."""
        if self._uses:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?, ?, ?)", self._uses)
            self._uses.clear()

    def last_key(self, pipeline: str, stage: str, type_: str) -> str | None:
        """The key of the result that a stage had last."""
        self.flush()
        query = "SELECT key FROM used WHERE pipeline=? AND stage=? AND type=? ORDER BY at DESC LIMIT 1"
        row = self._db.execute(query, (pipeline, stage, type_)).fetchone()
        return None if row is None else str(row[0])

    def rebuild(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        """Note what the manifests say, in a database that has nothing yet."""
        for each in sorted(manifests, key=lambda manifest: float(manifest["finished"])):
            self.use(None, each["pipeline"], each["stage"], each["type"], each["key"], each["finished"])
        self.flush()


def stat_of(path: Path | str) -> Stat:
    """The stat by which a file's digest is remembered."""
    found = os.stat(path)  # noqa: PTH116 (half the time of Path.stat, for every picture of every plan)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _connect(path: Path | None) -> sqlite3.Connection:
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if path is None or isinstance(error, sqlite3.OperationalError):
            raise
        path.replace(path.with_name(f"{path.name}.damaged"))  # all of it can be made again
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _open(path)


def _open(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:" if path is None else path, timeout=30, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            _create(db)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection) -> None:
    """Make the tables anew, once, however many processes come upon the old ones."""
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        for table in ("digest", "run", "used"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in filter(str.strip, SCHEMA.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.commit()

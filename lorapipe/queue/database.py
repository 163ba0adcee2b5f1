"""The queue's database file, and the tables in it.

What was committed outlasts a power cut: every commit is synced (`synchronous=FULL`, which not every SQLite is built
with; `fullfsync` is what that takes on macOS), because nothing else knows of a job. There are few commits.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from lorapipe.errors import LorapipeError

VERSION = 1
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


def open_database(path: Path) -> sqlite3.Connection:
    """Open it, made if need be; `LorapipeError` where it cannot be used."""
    try:
        db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA fullfsync=ON")
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in filter(str.strip, SCHEMA.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={VERSION}")
        db.commit()
    except sqlite3.Error as error:
        cure = "Move it away, and a new one is made; finished work is not in it."
        raise LorapipeError(f"cannot be used: {error}.", where=str(path), cure=cure) from None
    if version not in (0, VERSION):
        raise LorapipeError("was made by a later lorapipe.", where=str(path), cure="Update this one.")
    return db

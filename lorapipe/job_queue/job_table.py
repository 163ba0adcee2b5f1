"""The table of jobs: queries, and the transactions that change it.


Every operation is one small SQLite transaction; any number of processes may use the table at once.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lorapipe.errors import InputError, near_miss
from lorapipe.job_queue.database import open_database
from lorapipe.job_queue.home import home
from lorapipe.job_queue.job import QueueJob, State
from lorapipe.job_queue.journal import Journal
from lorapipe.pipeline.database import mended
from lorapipe.pipeline.database_errors import Unfit

ORDER = "priority DESC, position"
LAST_ENDED = "SELECT number FROM job WHERE finished IS NOT NULL ORDER BY finished DESC, number DESC LIMIT ?"
"""Selects only numbers, since sorting whole rows takes longer."""


class JobTable:
    """The jobs of the queue in a folder; `clock` gives the recorded times (Unix seconds)."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.root = folder or home()
        self._locks = self.root / "jobs"
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        self._journal = Journal(self.root / "queue.jsonl")
        self.database = open_database(self.root / "queue.db", self._journal)
        self._guard = self.database.guard
        self._catch_up()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    @mended
    def jobs(self) -> list[QueueJob]:
        """Return all jobs: running, then waiting in order, then ended, the last first."""
        waiting = self._select(f"WHERE finished IS NULL ORDER BY state = 'waiting', {ORDER}")
        return [*waiting, *self._select("WHERE finished IS NOT NULL ORDER BY finished DESC, number DESC")]

    @mended
    def window(self, most: int) -> list[QueueJob]:
        """Return jobs like `jobs`, but at most the first `most` waiting and the last `most` ended ones."""
        running = self._select(f"WHERE state = 'running' ORDER BY {ORDER}")
        waiting = self._select(f"WHERE state = 'waiting' ORDER BY {ORDER} LIMIT ?", most)
        ended = self._select(f"WHERE number IN ({LAST_ENDED}) ORDER BY finished DESC, number DESC", most)
        return [*running, *waiting, *ended]

    @mended
    def counts(self) -> dict[str, int]:
        """Return the numbers of running, waiting and ended jobs."""
        kinds = "CASE WHEN finished IS NOT NULL THEN 'ended' ELSE state END"
        with self._guard:
            rows = self._db.execute(f"SELECT {kinds}, count(*) FROM job GROUP BY 1").fetchall()
        return {"running": 0, "waiting": 0, "ended": 0, **dict(rows)}

    @mended
    def job(self, number: int) -> QueueJob:
        """Return one job. Raises `InputError` if there is none."""
        found = self._select("WHERE number = ?", number)
        if not found:
            known = [str(job.number) for job in self.jobs()]
            cure = near_miss(str(number), known) if known else "The queue is empty."
            raise InputError(f"there is no job {number}.", cure=cure)
        return found[0]

    @mended
    def count(self, *states: State) -> int:
        """Return the number of jobs in these states."""
        marks = ", ".join("?" * len(states))
        with self._guard:
            (count,) = self._db.execute(f"SELECT count(*) FROM job WHERE state IN ({marks})", states).fetchone()
        return int(count)

    @mended
    def versions(self, source: str) -> list[QueueJob]:
        """Return the jobs of a folder or zip in an inbox, the newest first."""
        return self._select("WHERE source = ? ORDER BY version DESC", source)

    @mended
    def progress(self) -> dict[int, dict[str, object]]:
        """Return the last progress of each running job: `at` (Unix seconds) and the values given to `record_progress`."""
        with self._guard:
            rows = self._db.execute("SELECT number, at, told FROM progress").fetchall()
        return {number: {"at": at, **json.loads(told)} for number, at, told in rows}

    @property
    @mended
    def mark(self) -> tuple[int, int]:
        """A value that changes whenever the queue does, whichever process changed it; cheaper than reading the jobs."""
        with self._guard:
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
            return int(version) + (self.database.openings << 32), self._db.total_changes

    @property
    @mended
    def is_paused(self) -> bool:
        """Whether no further job may begin."""
        with self._guard:
            return self._db.execute("SELECT 1 FROM setting WHERE name = 'paused'").fetchone() is not None

    def _catch_up(self) -> None:
        """Write changes to the journal that an earlier version, or a process that could not write it, has made."""
        with suppress(sqlite3.Error):  # a read-only queue
            if self._journal.is_behind(self._db):
                with self._writing():
                    pass

    def _end(self, db: sqlite3.Connection, number: int, state: State, reason: str, before: State) -> None:
        values = (state, reason, self._clock(), number, before)
        db.execute("UPDATE job SET state = ?, reason = ?, finished = ? WHERE number = ? AND state = ?", values)

    def _select(self, rest: str, *values: object) -> list[QueueJob]:
        with self._guard:
            cursor = self._db.execute(f"SELECT * FROM job {rest}", values)
            names = [each[0] for each in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        jobs = []
        for row in rows:
            try:
                jobs.append(QueueJob.of(row))
            except (ValueError, TypeError, KeyError) as error:
                if not self.database.is_later:  # a later version may have unknown kinds of jobs
                    raise Unfit(f"a job cannot be read: {error}") from None
        return jobs

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self.database.writing() as db:
            yield db
            self._journal.note(db)

    @property
    def _db(self) -> sqlite3.Connection:
        return self.database.connection


def first_position(db: sqlite3.Connection) -> float:
    (first,) = db.execute("SELECT ifnull(min(position), 0) FROM job").fetchone()
    return float(first)


def last_position(db: sqlite3.Connection) -> float:
    (last,) = db.execute("SELECT ifnull(max(position), 0) FROM job").fetchone()
    return float(last)

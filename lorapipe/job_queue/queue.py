"""The durable list of jobs, for its users: add, cancel, retry, move, pause.


Jobs of higher priority go first, and among equals the oldest. Queries are in `job_table`; claiming and finishing jobs is in
`job_claims`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.job_queue.job import ENDED, QueueJob
from lorapipe.job_queue.job_claims import JobClaims
from lorapipe.job_queue.job_table import ORDER, first_position, last_position
from lorapipe.pipeline.database import mended


class Queue(JobClaims):
    """The queue in a folder; `clock` gives the recorded times (Unix seconds)."""

    @mended
    def add(
        self, pipeline: Path, sets: Sequence[str] = (), device: str = "auto", priority: int = 0, title: str = ""
    ) -> QueueJob:
        """Add a pipeline after those of its priority."""
        with self._writing() as db:
            number = self._insert(db, title or pipeline.name, pipeline, tuple(sets), device, priority)
        return self.job(number)

    @mended
    def drop(
        self, source: str, fingerprint: str, title: str, outputs: Path, settings: Mapping[str, object], device: str = "auto",
        taken: Callable[[Path], bool] = Path.exists,
    ) -> QueueJob | None:  # fmt: skip
        """Add a job for a folder or zip in an inbox; None if it already had one with the same content.

        Its folder is `outputs/title`, or `title-2` … if another source has that or it is `taken`; a source keeps its
        folder. Earlier versions that still wait are cancelled.
        """
        with self._writing() as db:
            if db.execute(
                "SELECT 1 FROM dropped WHERE source = ? AND fingerprint = ?", (source, fingerprint)
            ).fetchone():
                return None
            folder = _place(db, source, title, outputs, taken)
            (last,) = db.execute("SELECT ifnull(max(version), 0) FROM dropped WHERE source = ?", (source,)).fetchone()
            number = self._insert(db, folder.name, folder / "pipeline.yaml", (), device, 0)
            db.execute(
                "UPDATE job SET source = ?, fingerprint = ?, version = ?, settings = ? WHERE number = ?",
                (source, fingerprint, last + 1, json.dumps(settings, ensure_ascii=False), number),
            )
            db.execute(
                "INSERT INTO dropped (source, fingerprint, version, number) VALUES (?, ?, ?, ?)",
                (source, fingerprint, last + 1, number),
            )
            older = (
                "UPDATE job SET state = 'cancelled', finished = ?, reason = ? WHERE source = ? AND state = 'waiting'"
            )
            why = f"job {number} has the newer content"
            db.execute(f"{older} AND number < ?", (self._clock(), why, source, number))
        return self.job(number)

    @mended
    def cancel(self, number: int) -> QueueJob:
        """Cancel a waiting job, or ask the owner of a running one to stop; a second call asks to stop at once."""
        self.recover()
        job = self.job(number)
        if job.state in ENDED:
            raise InputError(f"job {number} has ended already: {job.state}.")
        with self._writing() as db:
            db.execute("UPDATE job SET asked = min(asked + 1, 2) WHERE number = ? AND state = 'running'", (number,))
            self._end(db, number, "cancelled", "", "waiting")
        return self.job(number)

    @mended
    def retry(self, number: int) -> QueueJob:
        """Queue an ended job again, at the end; it resumes from its saved state."""
        job = self.job(number)
        if job.state not in ENDED:
            raise InputError(f"job {number} has not ended: it is {job.state}.")
        with self._writing() as db:
            again = "state = 'waiting', asked = 0, crashes = 0, told = 0, reason = '', finished = NULL, position = ?"
            db.execute(f"UPDATE job SET {again} WHERE number = ?", (last_position(db) + 1, number))
        return self.job(number)

    @mended
    def move(self, number: int, place: int) -> None:
        """Move a waiting job to another place among those that wait, from 1; it gets the priority of its neighbours."""
        if self.job(number).state != "waiting":
            raise InputError(
                f"job {number} is not waiting: it is {self.job(number).state}.", cure="Only waiting jobs can be moved."
            )
        with self._writing() as db:
            waiting = self._select(f"WHERE state = 'waiting' ORDER BY {ORDER}")
            moved = next(job for job in waiting if job.number == number)
            waiting.remove(moved)
            place = max(0, min(place - 1, len(waiting)))
            before, after = waiting[:place][-1:], waiting[place : place + 1]
            priority = min([moved.priority, *(each.priority for each in before)])
            priority = max([priority, *(each.priority for each in after)])
            db.execute("UPDATE job SET priority = ? WHERE number = ?", (priority, number))
            waiting.insert(place, moved)
            first = first_position(db)
            for index, job in enumerate(waiting):
                db.execute("UPDATE job SET position = ? WHERE number = ?", (first + index, job.number))

    @mended
    def pause(self) -> None:
        """Start no further jobs; running ones continue."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES ('paused', '1')")

    @mended
    def resume(self) -> None:
        """Undo `pause`."""
        with self._writing() as db:
            db.execute("DELETE FROM setting WHERE name = 'paused'")

    @mended
    def clear(self) -> int:
        """Delete the ended jobs, but remember which contents of inboxes they had; return their number."""
        with self._writing() as db:
            return db.execute("DELETE FROM job WHERE finished IS NOT NULL").rowcount

    def _insert(
        self, db: sqlite3.Connection, title: str, pipeline: Path, sets: tuple[str, ...], device: str, priority: int
    ) -> int:
        columns = "(title, pipeline, sets, device, priority, position, state, added)"
        values = (title, str(pipeline), json.dumps(sets), device, priority, last_position(db) + 1, self._clock())
        row = db.execute(f"INSERT INTO job {columns} VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?)", values)
        assert row.lastrowid is not None
        return row.lastrowid


def _place(db: sqlite3.Connection, source: str, title: str, outputs: Path, taken: Callable[[Path], bool]) -> Path:
    """Return the results folder of a source: its previous one below the same `outputs`, else a new unique one."""
    row = db.execute("SELECT folder FROM place WHERE source = ?", (source,)).fetchone()
    if row is not None and Path(row[0]).parent == outputs:
        return Path(row[0])
    count = 1
    while True:
        folder = outputs / (title if count == 1 else f"{title}-{count}")
        folded = str(folder).casefold()
        if not db.execute("SELECT 1 FROM place WHERE folded = ?", (folded,)).fetchone() and not taken(folder):
            db.execute(
                "INSERT OR REPLACE INTO place (source, folder, folded) VALUES (?, ?, ?)", (source, str(folder), folded)
            )
            return folder
        count += 1

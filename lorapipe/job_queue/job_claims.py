"""Operations for runners of jobs: claim a job for a device, then finish or release it.

    waiting ─ claim ─→ running ─┬─ finish ─→ done, failed, cancelled, aside
       ↑                        ├─ release (the owner was stopped) ─→ waiting
       └────────────────────────┴─ recover (the owner is gone) ─→ waiting, or aside the second time


A running job has a lock file, which its owner holds. Locks are taken and lock files removed only inside a transaction, so
no process can come between the two.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lorapipe.job_queue.job import Claim, QueueJob, State
from lorapipe.job_queue.job_table import ORDER, JobTable, first_position
from lorapipe.pipeline.database import mended
from lorapipe.pipeline.execution.devices import device_locks
from lorapipe.pipeline.locks import Busy, take

MOST_CRASHES = 2
"""A job that has crashed its owner this often is set aside, so that the queue continues."""
MANY = 500
BACKOFF = 50
MOST_BACKOFF_SECONDS = 10.0
"""An unsuccessful search among `MANY` jobs is not repeated for `BACKOFF` times its CPU time, at most for
`MOST_BACKOFF_SECONDS`."""


class JobClaims(JobTable):
    """The jobs of a queue, for processes that run them."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._searches: dict[str, tuple[dict[State, tuple[int, int]], float]] = {}
        super().__init__(folder, clock)

    @mended
    def claim(self, device: str, objection: Callable[[QueueJob], str] = lambda job: "") -> Claim | None:
        """Claim the next job for a device; None if there is none, or the queue is paused.

        Skipped are jobs for another device, jobs of a source of which another version is running, and those with an
        `objection`, which becomes their `reason`.
        """
        now = self._states()
        if "waiting" not in now or self.is_paused or self._searched_lately(device, now):
            return None
        began, reasons = time.thread_time(), dict[int, str]()
        for job in self._candidates():
            why = objection(job) if _suits(job.device, device) else job.reason or f"waits for the device {job.device}"
            if why != job.reason:
                reasons[job.number] = why
            if not why and (claim := self._begin(job, reasons)) is not None:
                return claim
        if reasons:
            with self._writing() as db:
                _note(db, reasons)
        self._remember_search(device, now, time.thread_time() - began)
        return None

    def _candidates(self) -> list[QueueJob]:
        """Return the waiting jobs in order, without those of a source of which another version is running."""
        busy = {job.source for job in self._select("WHERE state = 'running' AND source <> ''")}
        return [job for job in self._select(f"WHERE state = 'waiting' ORDER BY {ORDER}") if job.source not in busy]

    def _remember_search(self, device: str, now: dict[State, tuple[int, int]], seconds: float) -> None:
        """Remember an unsuccessful search among many jobs that took `seconds` of CPU time."""
        if now["waiting"][0] >= MANY:
            self._searches[device] = now, time.monotonic() + min(BACKOFF * seconds, MOST_BACKOFF_SECONDS)

    @mended
    def finish(self, claim: Claim, state: State, reason: str = "") -> QueueJob:
        """Record how the job ended."""
        with self._releasing(claim) as db:
            self._end(db, claim.job.number, state, reason, "running")
        return self.job(claim.job.number)

    @mended
    def release(self, claim: Claim) -> QueueJob:
        """Return the job to the queue because its owner stops. It keeps its place and will resume."""
        with self._releasing(claim) as db:
            db.execute("UPDATE job SET state = 'waiting' WHERE number = ? AND state = 'running'", (claim.job.number,))
        return self.job(claim.job.number)

    @mended
    def recover(self) -> list[QueueJob]:
        """Return running jobs whose owner is gone to the queue; returns these jobs."""
        if not self.count("running"):
            return []
        with self._writing() as db:
            left = [job for job in self._select("WHERE state = 'running'") if self._is_orphan(job.number)]
            for job in left:
                self._take_back(db, job)
        return [self.job(job.number) for job in left]

    @mended
    def ended(self) -> list[QueueJob]:
        """Return the jobs that have ended since the last call, each once."""
        with self._guard:
            if self._db.execute("SELECT 1 FROM job WHERE finished IS NOT NULL AND NOT told").fetchone() is None:
                return []
        with self._writing() as db:
            found = self._select("WHERE finished IS NOT NULL AND NOT told ORDER BY finished")
            db.executemany("UPDATE job SET told = 1 WHERE number = ?", [(job.number,) for job in found])
        return found

    @mended
    def asked(self, number: int) -> int:
        """Return how urgently the job's owner is asked to stop: 0, 1 or 2."""
        with self._guard:
            row = self._db.execute("SELECT asked FROM job WHERE number = ?", (number,)).fetchone()
        return 0 if row is None else int(row[0])

    @mended
    def note_run(self, number: int, run: int) -> None:
        """Record the number of the job's run in the ledger."""
        with self._writing() as db:
            db.execute("UPDATE job SET run = ? WHERE number = ?", (run, number))

    @mended
    def record_progress(self, number: int, told: Mapping[str, object] | None) -> None:
        """Record the job's progress for other processes, None if there is none; call it once a second at most."""
        with self._writing() as db:
            if told is None:
                db.execute("DELETE FROM progress WHERE number = ?", (number,))
                return
            row = (number, self._clock(), json.dumps(told, ensure_ascii=False))
            db.execute("INSERT OR REPLACE INTO progress (number, at, told) VALUES (?, ?, ?)", row)

    def _states(self) -> dict[State, tuple[int, int]]:
        """Return the number of waiting and running jobs, and the newest of each; a change makes a new search worthwhile."""
        query = "SELECT state, count(*), max(number) FROM job WHERE state IN ('waiting', 'running') GROUP BY state"
        with self._guard:
            return {state: (count, last) for state, count, last in self._db.execute(query)}

    def _searched_lately(self, device: str, now: dict[State, tuple[int, int]]) -> bool:
        """Whether a search has just been unsuccessful, since searching thousands of jobs takes time."""
        then, until = self._searches.get(device, ({}, 0.0))
        return now == then and time.monotonic() < until

    def _begin(self, job: QueueJob, reasons: Mapping[int, str]) -> Claim | None:
        """Claim a job, and record what the others wait for; None if another process was quicker."""
        with self._writing() as db:
            _note(db, reasons)
            state = db.execute("SELECT state FROM job WHERE number = ?", (job.number,)).fetchone()
            other = "SELECT 1 FROM job WHERE state = 'running' AND source = ? AND source <> ''"
            if state != ("waiting",) or self.is_paused or db.execute(other, (job.source,)).fetchone():
                return None
            try:
                lock = take(self._lock(job.number))
            except Busy:
                return None
            try:
                begin = (
                    "state = 'running', reason = '', attempts = attempts + 1, asked = 0, started = ?, finished = NULL"
                )
                db.execute(f"UPDATE job SET {begin} WHERE number = ?", (self._clock(), job.number))
                db.execute("DELETE FROM progress WHERE number = ?", (job.number,))
                return Claim(self.job(job.number), lock)
            except BaseException:
                lock.close()
                raise

    def _take_back(self, db: sqlite3.Connection, job: QueueJob) -> None:
        if job.asked:
            self._end(db, job.number, "cancelled", "", "running")
        elif job.crashes + 1 >= MOST_CRASHES:
            why = f"lorapipe itself ended {job.crashes + 1} times while this job was running"
            self._end(db, job.number, "aside", why, "running")
        else:
            db.execute(
                "UPDATE job SET state = 'waiting', position = ? WHERE number = ?", (first_position(db) - 1, job.number)
            )
        db.execute("UPDATE job SET crashes = crashes + 1 WHERE number = ?", (job.number,))

    def _is_orphan(self, number: int) -> bool:
        try:
            take(self._lock(number)).close()
        except Busy:
            return False
        self._lock(number).unlink(missing_ok=True)
        return True

    def _lock(self, number: int) -> Path:
        return self._locks / f"{number}.lock"

    @contextmanager
    def _releasing(self, claim: Claim) -> Iterator[sqlite3.Connection]:
        with self._writing() as db:
            yield db
            db.execute("DELETE FROM progress WHERE number = ?", (claim.job.number,))
            claim.lock.close()
            self._lock(claim.job.number).unlink(missing_ok=True)


def _note(db: sqlite3.Connection, reasons: Mapping[int, str]) -> None:
    rows = [(why, number) for number, why in reasons.items()]
    db.executemany("UPDATE job SET reason = ? WHERE number = ? AND state = 'waiting'", rows)


def _suits(wanted: str, device: str) -> bool:
    return wanted in ("auto", device) or device_locks(wanted) == device_locks(device)

"""The durable list of jobs: SQLite, every operation one small transaction, any number of processes at once.

    waiting ─ claim ─→ running ─┬─ finish ─→ done, failed, cancelled, aside
       ↑                        ├─ release (the owner was stopped) ─→ waiting
       └────────────────────────┴─ recover (the owner is gone) ─→ waiting, or aside the second time

Jobs of a higher priority go first, among equals the one that came first. A running job has a lock file, which its owner
holds; locks are only taken and files only removed inside a transaction, so nobody can be between the two.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError, near_miss
from lorapipe.job_queue.database import open_database
from lorapipe.job_queue.home import home
from lorapipe.job_queue.job import ENDED, Claim, QueueJob, State
from lorapipe.job_queue.journal import Journal
from lorapipe.pipeline.database import mended
from lorapipe.pipeline.database_errors import Unfit
from lorapipe.pipeline.execution.devices import locks_of
from lorapipe.pipeline.locks import Busy, take

MOST_CRASHES = 2
"""A job that has taken its owner with it so often is set aside: the queue must go on."""

ORDER = "priority DESC, position"
LAST_ENDED = "SELECT number FROM job WHERE finished IS NOT NULL ORDER BY finished DESC, number DESC LIMIT ?"
"""Their numbers alone: sorting whole rows takes longer."""
MANY = 500
REST = 50
MOST_REST_SECONDS = 10.0
"""A look at so many jobs, in vain, is not repeated before so many times its computing has passed, or so many seconds."""


class Queue:
    """The queue in a folder; `clock` gives the times that are noted."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.root = folder or home()
        self._locks = self.root / "jobs"
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        self._looks: dict[str, tuple[dict[State, tuple[int, int]], float]] = {}
        self._journal = Journal(self.root / "queue.jsonl")
        self.database = open_database(self.root / "queue.db", self._journal)
        self._guard = self.database.guard
        self._catch_up()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    # ----------------------------------------------------------------------------------------------------- what is there

    @mended
    def jobs(self) -> list[QueueJob]:
        """All jobs: those that run, those that wait in their order, those that have ended, the last first."""
        waiting = self._select(f"WHERE finished IS NULL ORDER BY state = 'waiting', {ORDER}")
        return [*waiting, *self._select("WHERE finished IS NOT NULL ORDER BY finished DESC, number DESC")]

    @mended
    def window(self, most: int) -> list[QueueJob]:
        """As `jobs`, but of those that wait only the first `most`, and of those that have ended the last."""
        running = self._select(f"WHERE state = 'running' ORDER BY {ORDER}")
        waiting = self._select(f"WHERE state = 'waiting' ORDER BY {ORDER} LIMIT ?", most)
        ended = self._select(f"WHERE number IN ({LAST_ENDED}) ORDER BY finished DESC, number DESC", most)
        return [*running, *waiting, *ended]

    @mended
    def counts(self) -> dict[str, int]:
        """How many jobs run, wait and have ended."""
        kinds = "CASE WHEN finished IS NOT NULL THEN 'ended' ELSE state END"
        with self._guard:
            rows = self._db.execute(f"SELECT {kinds}, count(*) FROM job GROUP BY 1").fetchall()
        return {"running": 0, "waiting": 0, "ended": 0, **dict(rows)}

    @mended
    def job(self, number: int) -> QueueJob:
        """One job; `InputError` where there is none."""
        found = self._select("WHERE number = ?", number)
        if not found:
            known = [str(job.number) for job in self.jobs()]
            cure = near_miss(str(number), known) if known else "The queue is empty."
            raise InputError(f"there is no job {number}.", cure=cure)
        return found[0]

    @mended
    def count(self, *states: State) -> int:
        """How many jobs are in one of these states."""
        marks = ", ".join("?" * len(states))
        with self._guard:
            (count,) = self._db.execute(f"SELECT count(*) FROM job WHERE state IN ({marks})", states).fetchone()
        return int(count)

    @mended
    def versions(self, source: str) -> list[QueueJob]:
        """The jobs that a folder or zip in an inbox has had, the newest first."""
        return self._select("WHERE source = ? ORDER BY version DESC", source)

    @mended
    def progress(self) -> dict[int, dict[str, Any]]:
        """What was last told of each running job's progress: `at` (time), and what `tell` was given."""
        with self._guard:
            rows = self._db.execute("SELECT number, at, told FROM progress").fetchall()
        return {number: {"at": at, **json.loads(told)} for number, at, told in rows}

    @property
    @mended
    def mark(self) -> tuple[int, int]:
        """Changes whenever anything in the queue has, whoever changed it; quicker than looking."""
        with self._guard:
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
            return int(version) + (self.database.openings << 32), self._db.total_changes

    @property
    @mended
    def is_paused(self) -> bool:
        """Whether no further job is to begin."""
        with self._guard:
            return self._db.execute("SELECT 1 FROM setting WHERE name = 'paused'").fetchone() is not None

    # ------------------------------------------------------------------------------------------------------ what users do

    @mended
    def add(
        self, pipeline: Path, sets: Sequence[str] = (), device: str = "auto", priority: int = 0, title: str = ""
    ) -> QueueJob:
        """Put a pipeline at the end of those of its priority."""
        with self._writing() as db:
            number = self._insert(db, title or pipeline.name, pipeline, tuple(sets), device, priority)
        return self.job(number)

    @mended
    def drop(
        self, source: str, fingerprint: str, title: str, outputs: Path, settings: Mapping[str, Any], device: str = "auto",
        taken: Callable[[Path], bool] = Path.exists,
    ) -> QueueJob | None:  # fmt: skip
        """Add a job for what lies in an inbox, unless it has had one with the same content: then None.

        Its folder is `outputs/title`, or `title-2` … where another source has that or it is `taken`; a source keeps its
        folder. Its earlier versions that still wait are cancelled.
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
        """Take a waiting job out; ask the owner of a running one to stop, a second time to stop at once."""
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
        """Let a job that has ended wait again, at the end; it goes on from what it has saved."""
        job = self.job(number)
        if job.state not in ENDED:
            raise InputError(f"job {number} has not ended: it is {job.state}.")
        with self._writing() as db:
            again = "state = 'waiting', asked = 0, crashes = 0, told = 0, reason = '', finished = NULL, position = ?"
            db.execute(f"UPDATE job SET {again} WHERE number = ?", (_last(db) + 1, number))
        return self.job(number)

    @mended
    def move(self, number: int, place: int) -> None:
        """Give a waiting job another place among those that wait, from 1; it takes the priority of its neighbours."""
        if self.job(number).state != "waiting":
            raise InputError(
                f"job {number} does not wait: it is {self.job(number).state}.", cure="Only these can be moved."
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
            first = _first(db)
            for index, job in enumerate(waiting):
                db.execute("UPDATE job SET position = ? WHERE number = ?", (first + index, job.number))

    @mended
    def pause(self) -> None:
        """Begin no further job; what runs goes on."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES ('paused', '1')")

    @mended
    def resume(self) -> None:
        """Undo `pause`."""
        with self._writing() as db:
            db.execute("DELETE FROM setting WHERE name = 'paused'")

    @mended
    def clear(self) -> int:
        """Forget the jobs that have ended, but not which contents of an inbox have had theirs; how many they were."""
        with self._writing() as db:
            return db.execute("DELETE FROM job WHERE finished IS NOT NULL").rowcount

    # ----------------------------------------------------------------------------------------------------- what owners do

    @mended
    def claim(self, device: str, objection: Callable[[QueueJob], str] = lambda job: "") -> Claim | None:
        """The next job for a device, which is ours now; None where there is none, or the queue is paused.

        Passed over: jobs for another device, of a source whose other version is running, and those against which there
        is an `objection`, which is noted as what they wait for.
        """
        now = self._states()
        if "waiting" not in now or self.is_paused or self._has_looked(device, now):
            return None
        began, reasons = time.thread_time(), dict[int, str]()
        busy = {job.source for job in self._select("WHERE state = 'running' AND source <> ''")}
        for job in self._select(f"WHERE state = 'waiting' ORDER BY {ORDER}"):
            if job.source in busy:
                continue
            suits = _suits(job.device, device)
            why = objection(job) if suits else job.reason or f"waits for the device {job.device}"
            if why != job.reason:
                reasons[job.number] = why
            if not why and (claim := self._begin(job, reasons)) is not None:
                return claim
        if reasons:
            with self._writing() as db:
                _note(db, reasons)
        if now["waiting"][0] >= MANY:
            rest = min(REST * (time.thread_time() - began), MOST_REST_SECONDS)
            self._looks[device] = now, time.monotonic() + rest
        return None

    @mended
    def finish(self, claim: Claim, state: State, reason: str = "") -> QueueJob:
        """The job has ended so."""
        with self._letting_go(claim) as db:
            self._end(db, claim.job.number, state, reason, "running")
        return self.job(claim.job.number)

    @mended
    def release(self, claim: Claim) -> QueueJob:
        """Give the job back as it is: its owner was told to stop. It keeps its place, and goes on where it was."""
        with self._letting_go(claim) as db:
            db.execute("UPDATE job SET state = 'waiting' WHERE number = ? AND state = 'running'", (claim.job.number,))
        return self.job(claim.job.number)

    @mended
    def recover(self) -> list[QueueJob]:
        """Take back the running jobs whose owner is gone; which they were."""
        if not self.count("running"):
            return []
        with self._writing() as db:
            left = [job for job in self._select("WHERE state = 'running'") if self._is_orphan(job.number)]
            for job in left:
                self._take_back(db, job)
        return [self.job(job.number) for job in left]

    @mended
    def ended(self) -> list[QueueJob]:
        """The jobs that have ended and were not given out by this before: each is told of once, however it ended."""
        with self._guard:
            if self._db.execute("SELECT 1 FROM job WHERE finished IS NOT NULL AND NOT told").fetchone() is None:
                return []
        with self._writing() as db:
            found = self._select("WHERE finished IS NOT NULL AND NOT told ORDER BY finished")
            db.executemany("UPDATE job SET told = 1 WHERE number = ?", [(job.number,) for job in found])
        return found

    @mended
    def asked(self, number: int) -> int:
        """How urgently the job's owner is asked to stop."""
        with self._guard:
            row = self._db.execute("SELECT asked FROM job WHERE number = ?", (number,)).fetchone()
        return 0 if row is None else int(row[0])

    @mended
    def note_run(self, number: int, run: int) -> None:
        """The job's run has this number in the ledger."""
        with self._writing() as db:
            db.execute("UPDATE job SET run = ? WHERE number = ?", (run, number))

    @mended
    def tell(self, number: int, told: Mapping[str, Any]) -> None:
        """Note the job's progress for other processes; not more than once a second, please."""
        with self._writing() as db:
            row = (number, self._clock(), json.dumps(told, ensure_ascii=False))
            db.execute("INSERT OR REPLACE INTO progress (number, at, told) VALUES (?, ?, ?)", row)

    # ---------------------------------------------------------------------------------------------------------- inside

    def _catch_up(self) -> None:
        """Tell the journal what an earlier lorapipe, or a process that could not write it, has changed."""
        with suppress(sqlite3.Error):  # of a queue that can only be looked at
            if self._journal.is_behind(self._db):
                with self._writing():
                    pass

    def _states(self) -> dict[State, tuple[int, int]]:
        """How many jobs wait and run, and the newest of each: what a device can do changes with it."""
        query = "SELECT state, count(*), max(number) FROM job WHERE state IN ('waiting', 'running') GROUP BY state"
        with self._guard:
            return {state: (count, last) for state, count, last in self._db.execute(query)}

    def _has_looked(self, device: str, now: dict[State, tuple[int, int]]) -> bool:
        """Whether all the jobs were looked at in vain a moment ago; thousands that wait for room take their time."""
        then, until = self._looks.get(device, ({}, 0.0))
        return now == then and time.monotonic() < until

    def _begin(self, job: QueueJob, reasons: Mapping[int, str]) -> Claim | None:
        """Make a job ours, and note what the others wait for; None where another was quicker."""
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

    def _insert(
        self, db: sqlite3.Connection, title: str, pipeline: Path, sets: tuple[str, ...], device: str, priority: int
    ) -> int:
        columns = "(title, pipeline, sets, device, priority, position, state, added)"
        values = (title, str(pipeline), json.dumps(sets), device, priority, _last(db) + 1, self._clock())
        row = db.execute(f"INSERT INTO job {columns} VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?)", values)
        assert row.lastrowid is not None
        return row.lastrowid

    def _end(self, db: sqlite3.Connection, number: int, state: State, reason: str, before: State) -> None:
        values = (state, reason, self._clock(), number, before)
        db.execute("UPDATE job SET state = ?, reason = ?, finished = ? WHERE number = ? AND state = ?", values)

    def _take_back(self, db: sqlite3.Connection, job: QueueJob) -> None:
        if job.asked:
            self._end(db, job.number, "cancelled", "", "running")
        elif job.crashes + 1 >= MOST_CRASHES:
            why = f"lorapipe itself ended {job.crashes + 1} times while this job was running"
            self._end(db, job.number, "aside", why, "running")
        else:
            db.execute("UPDATE job SET state = 'waiting', position = ? WHERE number = ?", (_first(db) - 1, job.number))
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
    def _letting_go(self, claim: Claim) -> Iterator[sqlite3.Connection]:
        with self._writing() as db:
            yield db
            db.execute("DELETE FROM progress WHERE number = ?", (claim.job.number,))
            claim.lock.close()
            self._lock(claim.job.number).unlink(missing_ok=True)

    def _select(self, rest: str, *values: Any) -> list[QueueJob]:
        with self._guard:
            cursor = self._db.execute(f"SELECT * FROM job {rest}", values)
            names = [each[0] for each in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        jobs = []
        for row in rows:
            try:
                jobs.append(QueueJob.of(row))
            except (ValueError, TypeError, KeyError) as error:
                if not self.database.is_later:  # whose jobs may be what we do not know
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


def _note(db: sqlite3.Connection, reasons: Mapping[int, str]) -> None:
    rows = [(why, number) for number, why in reasons.items()]
    db.executemany("UPDATE job SET reason = ? WHERE number = ? AND state = 'waiting'", rows)


def _suits(wanted: str, device: str) -> bool:
    return wanted in ("auto", device) or locks_of(wanted) == locks_of(device)


def _first(db: sqlite3.Connection) -> float:
    (first,) = db.execute("SELECT ifnull(min(position), 0) FROM job").fetchone()
    return float(first)


def _last(db: sqlite3.Connection) -> float:
    (last,) = db.execute("SELECT ifnull(max(position), 0) FROM job").fetchone()
    return float(last)


def _place(db: sqlite3.Connection, source: str, title: str, outputs: Path, taken: Callable[[Path], bool]) -> Path:
    """The folder of a source: its old one below the same `outputs`, or a new one that nobody has."""
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

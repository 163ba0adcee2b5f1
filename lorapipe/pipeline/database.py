"""A SQLite file of ours: shared by processes, put in order by itself when it is damaged, its troubles in words.

    class Records:
        database: Database

        @mended
        def runs(self):
            return self.database.connection.execute("SELECT …").fetchall()

Damage may show at any query, not only when the file is opened. Then, and where the file is missing, empty or has not the
tables that it must have, it is set aside, a new one is built beside its place from what else is known, and renamed into it;
the method is called once more. A lock sees to it that one process does so, and the others take what it has built.

A file of another version is migrated where it is older, and used as it is where a later version has only added to it. Where
a later one has changed it, it is left alone, and what we keep stands in a file beside it.
"""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from lorapipe.errors import LorapipeError, problem_of
from lorapipe.pipeline.locks import Busy, holding

P = ParamSpec("P")
T = TypeVar("T")
Refill = Callable[[sqlite3.Connection, Path | None], str]
"""Fills new tables, from the file that was set aside too where there is one, and says from what; empty: from nothing."""

PATIENCE_SECONDS = 30.0
"""How long another process may write before we give up."""
DURABLE = ("synchronous=FULL", "fullfsync=ON")
"""What is nowhere else is synced with every commit; the second is what that takes on macOS."""
TRY_SECONDS = 1.0
"""How often it is tried again to open a file that could not be written."""
MOST_ASIDE = 3
"""Damaged files that are kept of one database: after that the oldest makes room."""
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT})
DAMAGED_READS = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
REFUSED = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY}
)
"""What SQLite says where the system has refused something, and why it keeps to itself."""
SAID_OF_DAMAGE = ("no such table", "no such column", "has no column", "malformed", "Could not decode")

log = logging.getLogger("lorapipe")


class Unavailable(LorapipeError, sqlite3.OperationalError):
    """The database cannot be used now; it is not damaged, and may be usable later."""


class Locked(Unavailable):
    """Another program has it, for longer than we wait."""


class Unfit(sqlite3.DatabaseError):
    """What is in the file is not what we have written there."""


class _Changed(Exception):
    """A later version has changed the tables."""


@dataclass(frozen=True)
class Tables:
    """What is in a database: its version, the statements that make it, and those that lead from an earlier version on."""

    version: int
    schema: str
    steps: Mapping[int, str] = field(default_factory=dict)
    """Version → how to come to the next one."""

    def make(self, db: sqlite3.Connection) -> None:
        """Make them in an empty database."""
        _script(db, self.schema)
        db.execute(f"PRAGMA user_version={self.version}")

    @functools.cached_property
    def columns(self) -> dict[str, frozenset[str]]:
        """The columns of each table."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            self.make(db)
            return {name: _columns(db, name) for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE sql > ''")
                    if _columns(db, name)}  # fmt: skip

    def fit(self, db: sqlite3.Connection) -> bool:
        """Whether a database has them all, with all their columns."""
        return all(columns <= _columns(db, name) for name, columns in self.columns.items())


class Owner(Protocol):
    """A class whose methods use a database."""

    @property
    def database(self) -> Database:
        """That database."""
        ...


def mended(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """A method of an `Owner`, called once more after damage that it met was mended. Raises `Unavailable`, in words."""

    @functools.wraps(method)
    def call(self: Owner, /, *values: P.args, **named: P.kwargs) -> T:
        database = self.database
        if database.is_entered:  # the outermost one is called again: a transaction is begun anew or not at all
            return method(self, *values, **named)
        for again in (True, False):
            with database.entered() as seen:
                try:
                    return method(self, *values, **named)
                except sqlite3.Error as error:
                    database.mend(error, seen, again)
                except UnicodeDecodeError as error:  # of a name in a damaged file
                    database.mend(Unfit(str(error)), seen, again)
        raise AssertionError

    return call


class Database:
    """One database file; with `None`, or where nothing may be written, one in memory that is forgotten.

    `private` files can be read by their user alone; `check` looks at every page when it is opened; `prepare` is told of each
    new connection. What is `sole` is nowhere else: it is not kept in memory, nor in a file beside one that a later version
    has changed. Raises `Unavailable`.
    """

    def __init__(
        self,
        path: Path | None,
        tables: Tables,
        refill: Refill,
        *,
        private: bool = False,
        check: bool = False,
        sole: bool = False,
        prepare: Callable[[sqlite3.Connection], None] = lambda db: None,
    ) -> None:
        self.path = path
        self.guard = threading.RLock()
        """Held by the thread that uses the connection."""
        self._tables = tables
        self._refill = refill
        self._private = private
        self._check = check
        self._sole = sole
        self._prepare = prepare
        self._entered = threading.local()
        self._file: tuple[int, int] | None = None
        self._where_missing = "was missing"
        self._refused: Unavailable | None = None
        self._tried = 0.0
        self.openings = 0
        """How often it was opened: counts up when a connection takes the place of another."""
        self.connection = self._open()

    def close(self) -> None:
        """Let go of the file."""
        with self.guard:
            self._file = None
            self.connection.close()

    @property
    def is_entered(self) -> bool:
        """Whether this thread is within a method that is `mended`."""
        return getattr(self._entered, "here", False)

    @property
    def is_later(self) -> bool:
        """Whether a later version has added to the tables."""
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        return int(version) > self._tables.version

    @contextmanager
    def entered(self) -> Iterator[sqlite3.Connection]:
        """Within it, this thread uses the connection; it leads to the file that is there now."""
        self._follow()
        self._entered.here = True
        try:
            yield self.connection
        finally:
            self._entered.here = False

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes: all of it, or nothing."""
        with self.guard:
            db = self.connection
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # it was rolled back already
                    db.execute("ROLLBACK")
                raise

    def mend(self, error: sqlite3.Error, seen: sqlite3.Connection, again: bool) -> None:
        """Put the file in order after an error on the connection `seen`; raises what cannot be mended, in words."""
        if isinstance(error, LorapipeError):
            raise error
        with self.guard:
            if self.connection is not seen and again:
                return  # another thread has done so
            if self.path is None or not again or self._file is None:
                raise self._in_words(error) from None
            if not (self._is_damaged(self.path, error) or _has_counted_too_far(seen, error)):
                raise self._in_words(error) from None
            seen.close()
            self.connection = self._made_anew(self.path, str(error), self._file)

    def only_look(self, trouble: Unavailable) -> None:
        """From now on, work in memory: nothing can be written."""
        with self.guard:
            self.connection.close()
            path, self._file = self.path, None
            self.connection = self._in_memory() if path is None else self._only_looked_at(path, trouble)

    # ---------------------------------------------------------------------------------------------------------- opening

    def _follow(self) -> None:
        """Open the file that is there now, where another process has put it in place of ours, or somebody deleted it."""
        if self._refused is not None and self._sole and time.monotonic() - self._tried > TRY_SECONDS:
            with self.guard:  # there may be room by now
                self.connection.close()
                self.connection = self._open()
        if self._file is None or self.path is None:
            return
        try:
            if _identity(self.path) == self._file:
                return
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return
        with self.guard:
            if not self.connection.in_transaction:
                self.connection.close()
                self.connection = self._open()

    def _open(self) -> sqlite3.Connection:
        self._file = None
        path = self.path
        if path is None or not (self._sole or path.parent.is_dir()):
            return self._in_memory()
        if not _may_be_written(path):
            return self._copy_in_memory(path)
        try:
            return self._usable(path)
        except FileNotFoundError:
            return self._made_anew(path, self._where_missing, None)
        except _Changed:
            return self._own_beside(path)
        except sqlite3.Error as error:
            if not self._is_damaged(path, error):
                return self._only_looked_at(path, self._in_words(error))
            return self._made_anew(path, str(error), None)
        except OSError as error:
            return self._only_looked_at(path, Unavailable(problem_of(error, str(path))))

    def _usable(self, path: Path) -> sqlite3.Connection:
        """A connection to a file that is as it should be. Raises `FileNotFoundError`, `_Changed` or `sqlite3.Error`."""
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unfit("it is no file")
        if self._private:
            _make_private(path)
        db = _connect(path)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            for pragma in DURABLE if self._sole else ("synchronous=NORMAL",):
                db.execute(f"PRAGMA {pragma}")
            self._bring_up_to_date(db)
            if not self._tables.fit(db):
                raise Unfit("a table or column is missing")
            if self._check and (found := db.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
                raise Unfit(str(found[0]) if found else "damaged")
            self._prepare(db)
            self._file = _identity(path)
        except UnicodeDecodeError as error:
            db.close()
            raise Unfit(str(error)) from None
        except BaseException:
            db.close()
            raise
        self.openings += 1
        self._refused = None
        return db

    def _bring_up_to_date(self, db: sqlite3.Connection) -> None:
        """Migrate the tables of an earlier version; those that a later one has only added to are used as they are."""
        tables = self._tables
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > tables.version and not tables.fit(db):
            raise _Changed
        if version >= tables.version:
            return
        if db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None:
            raise Unfit("it is empty")
        db.execute("BEGIN IMMEDIATE")
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version < tables.version:
                for each in sorted(tables.steps):
                    _script(db, tables.steps[each] if version <= each else "")
                if not tables.fit(db):
                    raise Unfit("a table or column is missing")
                db.execute(f"PRAGMA user_version={tables.version}")
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def _own_beside(self, path: Path) -> sqlite3.Connection:
        if self._sole:
            what = "was changed by a later lorapipe, which this one cannot read."
            raise Unavailable(
                what, where=str(path), cure="Update this one, or give it a folder of its own (LORAPIPE_HOME)."
            )
        self.path = path.with_name(f"{path.stem}.v{self._tables.version}{path.suffix}")
        self._where_missing = f"stands in for {path.name}, which a later lorapipe has changed"
        return self._open()

    def _in_memory(self) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._tables.make(db)
        self._refill(db, None)
        self._prepare(db)
        if self._sole:
            db.execute("PRAGMA query_only=ON")
        self.openings += 1
        return db

    def _only_looked_at(self, path: Path, trouble: Unavailable) -> sqlite3.Connection:
        """What can be read where nothing can be written now: a full disk must not keep anyone from making room.

        Where nothing is there to be looked at, or another program does not let us, the trouble is raised.
        """
        if isinstance(trouble, Locked) or (self._sole and not path.exists()):
            raise trouble
        if self._refused is None:
            log.warning("%s It is only looked at.", trouble)
        self._refused, self._tried = trouble, time.monotonic()
        return self._copy_in_memory(path)

    def _copy_in_memory(self, path: Path) -> sqlite3.Connection:
        """What can be read of a file beside which nothing may be written."""
        with suppress(OSError, sqlite3.Error), ExitStack() as stack:
            import tempfile  # seldom needed

            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lorapipe-"))
            read = stack.enter_context(closing(_connect(_copied(path, Path(folder)))))
            self._bring_up_to_date(read)
            if self._tables.fit(read):
                db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                read.backup(db)
                self._prepare(db)
                if self._sole:
                    db.execute("PRAGMA query_only=ON")
                self.openings += 1
                return db
        return self._in_memory()

    # ---------------------------------------------------------------------------------------------------------- mending

    def _is_damaged(self, path: Path, error: sqlite3.Error) -> bool:
        """Whether an error says that what is in the file, or beside it, is not what SQLite has written."""
        code = getattr(error, "sqlite_errorcode", 0)
        if isinstance(error, Unfit) or code & 0xFF in DAMAGED or code in DAMAGED_READS:
            return True
        if any(words in str(error) for words in SAID_OF_DAMAGE):
            return True
        return any(os.path.lexists(each) and not each.is_file() for each in _set(path))

    def _made_anew(self, path: Path, why: str, seen: tuple[int, int] | None) -> sqlite3.Connection:
        """Set a damaged file aside and build another, unless another process has: then what it built."""
        try:
            lock = path.with_name(f"{path.stem}.lock")
            with holding(lock, _patiently(path)):
                if self._private:
                    _make_private(lock)
                built = self._built_by_another(path, seen)
                if built is not None:
                    return built
                aside = _set_aside(path)
                told = self._build(path, aside)
                db = self._usable(path)
        except sqlite3.Error as error:
            return self._only_looked_at(path, self._in_words(error))
        except OSError as error:
            return self._only_looked_at(path, Unavailable(problem_of(error, str(path))))
        if aside is not None:
            log.warning(
                "%s was damaged (%s): made anew %s; the damaged one is kept as %s.",
                path, " ".join(why.split())[:200], f"from {told}" if told else "and empty", aside.name,
            )  # fmt: skip
        elif told:
            log.warning("%s %s: made anew from %s.", path, why, told)
        return db

    def _built_by_another(self, path: Path, seen: tuple[int, int] | None) -> sqlite3.Connection | None:
        try:
            if seen is None or _identity(path) != seen:
                return self._usable(path)
        except FileNotFoundError:
            pass
        except sqlite3.Error as error:
            if not self._is_damaged(path, error):
                raise
        return None

    def _build(self, path: Path, aside: Path | None) -> str:
        """Build a new file beside its place and rename it into it; from what it was built, in words."""
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if self._private else 0o666))
        try:
            with closing(_connect(new)) as db:
                db.execute("PRAGMA journal_mode=MEMORY")
                db.execute("BEGIN IMMEDIATE")
                self._tables.make(db)
                told = self._refill(db, aside)
                db.execute("COMMIT")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
        return told

    def _in_words(self, error: sqlite3.Error) -> Unavailable:
        """What ails the database, and what helps."""
        if isinstance(error, Unavailable):
            return error
        where = "the records in memory" if self.path is None else str(self.path)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            what = f"another program has kept it locked for {PATIENCE_SECONDS:g} seconds."
            cure = "Look for what has it open (a viewer of databases, a backup, a stopped lorapipe), and end that."
            return Locked(what, where=where, cure=cure)
        if code == sqlite3.SQLITE_FULL:
            return Unavailable(problem_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where))
        if code == sqlite3.SQLITE_READONLY and self._refused is not None:
            return Unavailable(self._refused.problems)
        refused = _refusal(self.path) if code in REFUSED else None
        if refused is not None:
            return Unavailable(problem_of(refused, where))
        cure = "Look at who may write there and at the limits of this shell (`ulimit -a`), then try again."
        return Unavailable(f"cannot be used: {error}.", where=where, cure=cure)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there: none is made."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)


def _copied(path: Path, folder: Path) -> Path:
    """A copy of a database with what is not yet written into it."""
    for each in (path, path.with_name(f"{path.name}-wal")):
        if each.is_file():
            shutil.copyfile(each, folder / each.name)
    return folder / path.name


def _script(db: sqlite3.Connection, statements: str) -> None:
    for statement in filter(str.strip, statements.split(";")):  # executescript would end the transaction
        db.execute(statement)


def _columns(db: sqlite3.Connection, table: str) -> frozenset[str]:
    return frozenset(row[1] for row in db.execute(f"PRAGMA table_info({table})"))


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 (asked at every use)
    return found.st_dev, found.st_ino


def _may_be_written(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _set(path: Path) -> list[Path]:
    """The files that make up a database."""
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("", "-wal", "-shm")]


def _make_private(path: Path) -> None:
    """Take away what others may do with files that were made before they were private."""
    for each in _set(path) if os.name == "posix" else ():
        with suppress(OSError):
            if each.stat().st_mode & 0o077:
                each.chmod(0o600)


def _set_aside(path: Path) -> Path | None:
    """Rename a damaged database, with what is not yet written into it; None where there is none."""
    if not any(map(os.path.lexists, _set(path))):
        return None
    names = [path.with_name(f"{path.stem}.damaged-{count}{path.suffix}") for count in range(1, MOST_ASIDE + 1)]
    aside = next((name for name in names if not any(map(os.path.lexists, _set(name)))), names[-1])
    if any(map(os.path.lexists, _set(aside))):
        for older, newer in itertools.pairwise(names):
            _rename(newer, older)
    _rename(path, aside)
    return aside


def _rename(path: Path, target: Path) -> None:
    for each, to in zip(_set(path), _set(target), strict=True):
        if os.path.lexists(to):
            shutil.rmtree(to) if to.is_dir() and not to.is_symlink() else to.unlink()
        with suppress(FileNotFoundError):
            each.rename(to)


def _patiently(path: Path) -> Callable[[Busy], None]:
    """Waits for a process that puts the same file in order, but not for ever."""
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS

    def wait(busy: Busy) -> None:
        if time.monotonic() > deadline:
            cure = "Try again when it has ended."
            raise Locked(f"is being put in order by {busy.who}, for long.", where=str(path), cure=cure)

    return wait


def _has_counted_too_far(db: sqlite3.Connection, error: sqlite3.Error) -> bool:
    """Whether a table gives out no more numbers, which SQLite calls full too."""
    with suppress(sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            (last,) = db.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()
            return last is not None and last > 2**53
    return False


DESCRIPTORS = 4
"""So many files SQLite has open of one database, at the most."""


def _refusal(path: Path | None) -> OSError | None:
    """Why nothing can be written beside a file, as the system says."""
    if path is None:
        return None
    probe = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with ExitStack() as stack:
            stack.callback(probe.unlink, missing_ok=True)
            files = [stack.enter_context(probe.open("wb")) for _ in range(DESCRIPTORS)]
            files[0].write(bytes(1 << 16))
    except OSError as error:
        return error
    return None

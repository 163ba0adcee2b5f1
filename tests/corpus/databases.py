"""SQLite files as disks, crashes, other programs and other versions damage them.

Each builder gets the path of a closed database and damages it in place.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PAGE = 4096
Damage = Callable[[Path], None]


def settle(path: Path) -> None:
    """Checkpoint the journal into the file."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def pages(path: Path) -> int:
    return -(-path.stat().st_size // PAGE)


def overwrite(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def zeroed(page: int) -> Damage:
    """Fill a page with zeros: a lost write, a bad block."""
    return lambda path: overwrite(path, page * PAGE, bytes(PAGE))


def noisy(page: int, seed: int = 0) -> Damage:
    """Fill a page with random bytes."""
    return lambda path: overwrite(path, page * PAGE, random.Random(seed).randbytes(PAGE))


def sprinkled(seed: int, count: int = 200) -> Damage:
    """Change single bytes all over the file."""

    def damage(path: Path) -> None:
        chance = random.Random(seed)
        size = path.stat().st_size
        for _ in range(count):
            overwrite(path, chance.randrange(size), bytes([chance.randrange(256)]))

    return damage


def cut(share: float) -> Damage:
    """Truncate the file."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def replaced(data: bytes) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        path.write_bytes(data)

    return damage


def statement(sql: str) -> Damage:
    """Change the tables by an SQL statement, as another program or version does."""

    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            for each in sql.split(";"):
                db.execute(each)
        settle(path)

    return damage


def beside(suffix: str, data: bytes) -> Damage:
    """Add a journal or its index that does not belong to the database."""
    return lambda path: path.with_name(path.name + suffix).write_bytes(data)


def folder_beside(suffix: str) -> Damage:
    return lambda path: path.with_name(path.name + suffix).mkdir()


def foreign_journal(path: Path) -> None:
    """Add the journal of another database."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE run (a)")
        db.executemany("INSERT INTO run VALUES (?)", [(f"row {index}" * 99,) for index in range(99)])
        journal = other.with_name("other.db-wal").read_bytes()
    path.with_name(f"{path.name}-wal").write_bytes(journal)


def no_file(make: Callable[[Path], None]) -> Damage:
    """Replace the file by something else."""

    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def deleted(path: Path) -> None:
    path.unlink()


WAL_HEADER = bytes.fromhex("377f0682002de218") + bytes(24)

DAMAGES: dict[str, Damage] = {
    **{f"page {page} zeroed": zeroed(page) for page in (0, 1, 2, 3, 5)},
    **{f"page {page} noise": noisy(page, page) for page in (0, 1, 2, 3, 4)},
    **{f"sprinkled {seed}": sprinkled(seed) for seed in range(3)},
    "cut to a half": cut(0.5),
    "cut within a page": cut(0.71),
    "cut to 100 bytes": lambda path: os.truncate(path, 100),
    "empty": replaced(b""),
    "text": replaced(b"this is no database\n" * 1000),
    "zeros": replaced(bytes(3 * PAGE)),
    "another program's": replaced(b"SQLite format 3\0" + bytes(99)),
    "journal of noise": beside("-wal", random.Random(1).randbytes(9000)),
    "journal of a header": beside("-wal", WAL_HEADER + bytes(9000)),
    "foreign journal": foreign_journal,
    "index of noise": beside("-shm", random.Random(2).randbytes(32768)),
    "index of zeros": beside("-shm", bytes(32768)),
    "journal is a folder": folder_beside("-wal"),
    "index is a folder": folder_beside("-shm"),
    "a folder": no_file(lambda path: path.mkdir()),
    "a link that leads nowhere": no_file(lambda path: path.symlink_to("nowhere")),
    "deleted": deleted,
}
if hasattr(os, "mkfifo"):
    DAMAGES["a pipe"] = no_file(lambda path: os.mkfifo(path))

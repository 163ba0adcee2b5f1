"""Lease locks, for file systems without kernel locks: each owner of a lock has a file, which it renews.

    a.lock.owners/3     {"host": "node7", "place": "…", "pid": 4711, "started": "88123"}

The lock belongs to the living process with the highest number; the file system lets only one process create each number.
A process on this machine is alive if its id and start time exist (ids are reused); one on another machine, if it has renewed
its file recently.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

RENEWAL_SECONDS = 15.0
"""Seconds between two renewals of an owner's file."""
LOST_SECONDS = 300.0
"""Seconds after which an owner on another machine that has not renewed its file is considered dead."""


class Held(Exception):
    """A living process holds the lock; `host` is empty for this machine, `pid` None if unknown."""

    def __init__(self, pid: int | None, host: str) -> None:
        self.pid = pid
        self.host = host
        super().__init__(f"held by process {pid} {host}")


class Owner(NamedTuple):
    """A process: its machine, id and start time (ids are reused)."""

    host: str
    place: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> Owner:
        """Return this process as an owner."""
        return cls(_host(), _place(), os.getpid(), _start_of(os.getpid()) or "")


def folder_of(path: Path) -> Path:
    """Return the folder with the owners of a lock."""
    return path.with_name(f"{path.name}.owners")


def take(path: Path) -> Callable[[], None]:
    """Take a lock, and return a function that releases it. Raises `Held`, or `OSError` if nothing can be written."""
    folder = folder_of(path)
    before = _other_owners(folder)
    mine = folder / str(max(before, default=0) + 1)
    _write(mine)
    try:
        before = _other_owners(folder, mine)  # check again: numbers are reused, and the first check may be outdated
        if any(number > int(mine.name) for number in before):
            raise Held(None, "")
    except BaseException:
        mine.unlink(missing_ok=True)
        raise
    for number in before:
        (folder / str(number)).unlink(missing_ok=True)
    released = threading.Event()
    threading.Thread(target=_renew, args=(mine, released), name=f"lock {path.name}", daemon=True).start()

    def release() -> None:
        released.set()
        mine.unlink(missing_ok=True)
        with suppress(OSError):  # another process has taken it already
            folder.rmdir()

    return release


def _write(file: Path) -> None:
    """Create the file of this process. `Held` if another process has created it."""
    for tries_left in reversed(range(5)):
        with suppress(FileExistsError):
            file.parent.mkdir()
        try:
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            break
        except FileExistsError:
            raise Held(None, "") from None
        except FileNotFoundError:  # another process has released the lock and removed the folder
            if not tries_left:
                raise
    with os.fdopen(opened, "w", encoding="utf-8") as text:
        json.dump(Owner.this()._asdict(), text)


def _other_owners(folder: Path, mine: Path | None = None) -> list[int]:
    """Return the numbers of all other owners. `Held` if one of them is alive."""
    numbers = [number for number in _numbers(folder) if mine is None or str(number) != mine.name]
    for number in sorted(numbers, reverse=True):
        _raise_if_alive(folder / str(number))
    return numbers


def _raise_if_alive(file: Path) -> None:
    """Raise `Held` if the process of a file is alive."""
    try:
        owner = Owner(**json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return
    except (ValueError, TypeError):  # the file is being written, or was never finished
        owner = None
    if owner is not None and owner.place == _place() and sys.platform != "win32":
        if _start_of(owner.pid) == owner.started:
            raise Held(owner.pid, "")
    elif _age(file) < LOST_SECONDS:
        raise Held(owner.pid if owner else None, owner.host if owner else "")


def _age(file: Path) -> float:
    """Return the seconds since a file was renewed, by the file system's clock, since machines' clocks may differ."""
    probe = file.with_name(f".{os.urandom(16).hex()}")
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except FileNotFoundError:
        return LOST_SECONDS
    finally:
        with suppress(OSError):
            probe.unlink()


def _renew(file: Path, released: threading.Event) -> None:
    while not released.wait(RENEWAL_SECONDS):
        with suppress(OSError):
            os.utime(file)


def _numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 (names only)
    except FileNotFoundError:
        return []
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _host() -> str:
    """Return the name of this machine."""
    import platform  # seldom needed, and not quick to import

    return platform.node()


@cache
def _place() -> str:
    """Return the scope of process ids: this machine since its boot, and this container."""
    parts = [_host()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 (it is no path)
    return " ".join(parts)


def _start_of(pid: int) -> str | None:
    """Return the start time of a process on this machine, "" if unknown; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
        state, *rest = stat.rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return None
    if sys.platform == "win32":
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""

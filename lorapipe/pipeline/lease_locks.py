"""Lock files, for file systems on which the kernel has no locks: who holds a lock stands in a file of its own.

    a.lock.owners/3     {"host": "node7", "place": "…", "pid": 4711, "started": "88123"}

The owner is the process that lives and has made its file: of two that do so at once, the one of the higher number. A process
of this machine is asked for (its id and its start, since ids come again); of another machine it is seen by the time of its
file, which the owner renews. The file system lets one process make a number, and no other.
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

BEAT_SECONDS = 15.0
"""How often an owner renews the time of its file."""
LOST_SECONDS = 300.0
"""An owner on another machine that has not done so for this long is gone."""


class Held(Exception):
    """A living process holds the lock; `host` is empty where that is this machine, `pid` None where it cannot be known."""

    def __init__(self, pid: int | None, host: str) -> None:
        self.pid = pid
        self.host = host
        super().__init__(f"held by process {pid} {host}")


class Owner(NamedTuple):
    """A process: where it runs, its id there, and when it began (both, since ids come again)."""

    host: str
    place: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> Owner:
        """This process."""
        return cls(_host(), _place(), os.getpid(), _start_of(os.getpid()) or "")


def folder_of(path: Path) -> Path:
    """Where the owners of a lock stand."""
    return path.with_name(f"{path.name}.owners")


def take(path: Path) -> Callable[[], None]:
    """Become the owner of a lock; what is returned lets it go. Raises `Held`, or `OSError` where nothing can be written."""
    folder = folder_of(path)
    before = _all_gone(folder)
    mine = folder / str(max(before, default=0) + 1)
    _write(mine)
    try:
        before = _all_gone(folder, mine)  # once more: numbers come again, and what was seen may be long past
        if any(number > int(mine.name) for number in before):
            raise Held(None, "")
    except BaseException:
        mine.unlink(missing_ok=True)
        raise
    for number in before:
        (folder / str(number)).unlink(missing_ok=True)
    over = threading.Event()
    threading.Thread(target=_beat, args=(mine, over), name=f"lock {path.name}", daemon=True).start()

    def release() -> None:
        over.set()
        mine.unlink(missing_ok=True)
        with suppress(OSError):  # another has taken it already
            folder.rmdir()

    return release


def _write(file: Path) -> None:
    """Make the file of this process; `Held` where another has made it."""
    for tries_left in reversed(range(5)):
        with suppress(FileExistsError):
            file.parent.mkdir()
        try:
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            break
        except FileExistsError:
            raise Held(None, "") from None
        except FileNotFoundError:  # its folder was removed by one that let the lock go
            if not tries_left:
                raise
    with os.fdopen(opened, "w", encoding="utf-8") as text:
        json.dump(Owner.this()._asdict(), text)


def _all_gone(folder: Path, mine: Path | None = None) -> list[int]:
    """The numbers of all owners but ourselves; `Held` where one of them lives."""
    numbers = [number for number in _numbers(folder) if mine is None or str(number) != mine.name]
    for number in sorted(numbers, reverse=True):
        _must_be_gone(folder / str(number))
    return numbers


def _must_be_gone(file: Path) -> None:
    """Raise `Held` while the process of a file lives."""
    try:
        owner = Owner(**json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return
    except (ValueError, TypeError):  # it is being written, or was never finished
        owner = None
    if owner is not None and owner.place == _place() and sys.platform != "win32":
        if _start_of(owner.pid) == owner.started:
            raise Held(owner.pid, "")
    elif _age(file) < LOST_SECONDS:
        raise Held(owner.pid if owner else None, owner.host if owner else "")


def _age(file: Path) -> float:
    """How long ago a file was renewed, by the file system's own clock: those of two machines may differ."""
    probe = file.with_name(f".{os.urandom(16).hex()}")
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except FileNotFoundError:
        return LOST_SECONDS
    finally:
        with suppress(OSError):
            probe.unlink()


def _beat(file: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(file)


def _numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 (names only)
    except FileNotFoundError:
        return []
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _host() -> str:
    """The name of this machine."""
    import platform  # seldom needed, and not quick to import

    return platform.node()


@cache
def _place() -> str:
    """Where process ids mean the same processes: this machine, since it was started, in this container."""
    parts = [_host()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 (it is no path)
    return " ".join(parts)


def _start_of(pid: int) -> str | None:
    """When a process of this machine began, as far as the system tells; None where there is no such process."""
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

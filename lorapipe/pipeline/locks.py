"""Kernel file locks, which end with the process that holds them, so there are no stale locks.

Some network and user-space file systems have no kernel locks; on those, `lease_locks` are used instead.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from lorapipe.pipeline import lease_locks

TAKEN = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, getattr(errno, "EDEADLOCK", errno.EDEADLK)})
"""Errors that mean that another process holds the lock; any other error means that there are no kernel locks."""

if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[bytes]) -> None:
        """Lock one byte far beyond the process id that the file holds, so that others can read that."""
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Busy(Exception):
    """Another process holds the lock of the file `path`; `holder` is its id and `host` its machine, if known."""

    def __init__(self, path: Path, holder: int | None, host: str = "") -> None:
        self.path = path
        self.holder = holder
        self.host = host
        super().__init__(f"held by {self.who}")

    @property
    def who(self) -> str:
        """The holder as text, with advice if it is on another machine."""
        if self.holder is None:
            return "another process"
        if not self.host:
            return f"process {self.holder}"
        held = lease_locks.folder_of(self.path)
        return (
            f"process {self.holder} on {self.host} (if that has ended, the lock expires in minutes, or delete {held})"
        )


class Lock:
    """A held lock; `close` releases it."""

    def __init__(self, *releases: Callable[[], None]) -> None:
        self._releases = releases

    def close(self) -> None:
        """Release the lock; a second call does nothing."""
        releases, self._releases = self._releases, ()
        for release in releases:
            with suppress(OSError):
                release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def take(path: Path) -> Lock:
    """Take the lock of a file, which is created if missing. Close the returned lock to release it.

    Raises `Busy`, or `OSError` if the file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _opened(path)
    try:
        has_kernel_lock = _has_taken(file, path)
        releases = [file.close]
        if (
            not has_kernel_lock or lease_locks.folder_of(path).exists()
        ):  # or another process could not get a kernel lock here
            releases.insert(0, lease_locks.take(path))
    except lease_locks.Held as held:
        file.close()
        raise Busy(path, held.pid, held.host) from None
    except BaseException:
        file.close()
        raise
    with suppress(OSError):  # on a full disk only the holder's id is missing
        file.seek(0)
        file.write(str(os.getpid()).encode().ljust(20))
    return Lock(*releases)


def _opened(path: Path) -> IO[bytes]:
    flags = os.O_RDWR | os.O_CREAT
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        path.unlink(missing_ok=True)  # a link to itself, which nobody can lock
        descriptor = os.open(path, flags, 0o666)
    return os.fdopen(descriptor, "r+b", buffering=0)


def _has_taken(file: IO[bytes], path: Path) -> bool:
    """Whether the kernel has granted the lock; False if it has no locks here. Raises `Busy`."""
    try:
        _take(file)
    except OSError as error:
        if error.errno not in TAKEN:
            return False
        file.seek(0)
        holder = file.read(20).strip(b"\0 ")
        raise Busy(path, int(holder) if holder.isdigit() else None) from None
    return True


@contextmanager
def holding(path: Path, waiting: Callable[[Busy], None], pause: float = 0.2) -> Iterator[None]:
    """Hold a lock. While another process has it, call `waiting` every `pause` seconds, which may raise to give up."""
    lock = None
    while lock is None:
        try:
            lock = take(path)
        except Busy as busy:
            waiting(busy)
            time.sleep(pause)
    with lock:
        yield

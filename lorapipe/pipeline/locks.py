"""Locks that the kernel keeps, so that none outlives the process that holds it and nobody ever has to unlock one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

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
    """Another process holds the lock of the file `path`; `holder` is its id, where it can be known."""

    def __init__(self, path: Path, holder: int | None) -> None:
        self.path = path
        self.holder = holder
        super().__init__(f"held by process {holder}")


def take(path: Path) -> IO[bytes]:
    """Take the lock of a file, which is made if need be; closing what is returned lets it go. Raises `Busy`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    try:
        _take(file)
    except OSError:
        file.seek(0)
        holder = file.read(20).strip(b"\0 ")
        file.close()
        raise Busy(path, int(holder) if holder.isdigit() else None) from None
    file.seek(0)
    file.write(str(os.getpid()).encode().ljust(20))
    return file


@contextmanager
def holding(path: Path, waiting: Callable[[Busy], None], pause: float = 0.2) -> Iterator[None]:
    """Hold a lock; while another has it, `waiting` is called every `pause` seconds and may raise to give up."""
    file = None
    while file is None:
        try:
            file = take(path)
        except Busy as busy:
            waiting(busy)
            time.sleep(pause)
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()

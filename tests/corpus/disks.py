"""Faults of disks: files with typical damage, and a file system whose power can be cut."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SECTOR = 512
BLOCK = 4096


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Flip one bit."""
    place = chance.randrange(8 * len(data))
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def sector_lost(data: bytes, chance: random.Random) -> bytes:
    """Replace a sector by zeros."""
    places = [place for place in range(0, len(data), SECTOR) if any(data[place : place + SECTOR])]
    place = chance.choice(places)
    end = min(place + SECTOR, len(data))
    return data[:place] + bytes(end - place) + data[end:]


def blocks_exchanged(data: bytes, chance: random.Random) -> bytes:
    """Exchange two blocks, or two sectors of a small file."""
    size = BLOCK if len(data) > 2 * BLOCK else SECTOR
    parts = [data[place : place + size] for place in range(0, len(data), size)]
    while True:
        one, other = chance.sample(range(len(parts) - 1), 2)
        if parts[one] != parts[other]:
            parts[one], parts[other] = parts[other], parts[one]
            return b"".join(parts)


def stale(data: bytes, chance: random.Random) -> bytes:
    """Replace a sector by a copy of another one: a misdirected write."""
    places = range(0, len(data) - SECTOR, SECTOR)
    while True:
        source, target = chance.choice(places), chance.choice(places)
        sector = data[source : source + SECTOR]
        if sector != data[target : target + SECTOR]:
            return data[:target] + sector + data[target + SECTOR :]


def truncated(data: bytes, chance: random.Random) -> bytes:
    """Truncate the data."""
    return data[: chance.randrange(1, len(data))]


def tail_zeroed(data: bytes, chance: random.Random) -> bytes:
    """Replace the end by zeros, as after a power cut."""
    keep = chance.randrange(len(data) - 1 - (len(data) - len(data.rstrip(b"\0"))))
    return data[:keep] + bytes(len(data) - keep)


def zeroed(data: bytes, chance: random.Random) -> bytes:
    """Replace everything by zeros."""
    return bytes(len(data))


def emptied(data: bytes, chance: random.Random) -> bytes:
    """Return no data at all."""
    return b""


def noise(data: bytes, chance: random.Random) -> bytes:
    """Return random bytes."""
    return chance.randbytes(len(data))


def grown(data: bytes, chance: random.Random) -> bytes:
    """Append data."""
    return data + chance.randbytes(chance.randrange(1, SECTOR))


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flipped, sector_lost, blocks_exchanged, stale, truncated, tail_zeroed, zeroed, emptied, noise, grown,
)  # fmt: skip


def damage(path: Path, how: Callable[[bytes, random.Random], bytes], seed: int = 0) -> None:
    """Damage a file in place."""
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(how(data, random.Random(seed)))


class Disk:
    """An ext4 image, mounted at `mounted`, whose power can be cut.

    The journal is written every ten minutes or on a sync, so data that was not synced is not on the disk.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.mounted = folder / "mounted"
        self._image = folder / "disk.img"
        self.mounted.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        _call("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self._image))
        self._mount()

    def _mount(self) -> None:
        _call("mount", "-o", "loop,noatime,commit=600", str(self._image), str(self.mounted))

    def sync(self) -> None:
        """Sync everything written so far."""
        _call("sync", "-f", str(self.mounted))

    def cut(self) -> None:
        """Cut the power and restart: the content of the disk at this moment is mounted, and its journal replayed.

        Processes that write there must be suspended (`frozen`) meanwhile, and end afterwards.
        """
        held = self._image.with_suffix(".held")
        _call("cp", "--sparse=always", str(self._image), str(held))
        self.close()
        held.replace(self._image)
        self._mount()

    def close(self) -> None:
        """Unmount it."""
        _call("umount", "-l", str(self.mounted))


@contextmanager
def disk(folder: Path, megabytes: int = 64) -> Iterator[Disk]:
    """Yield a disk; skip the test if it cannot be mounted."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("mkfs.ext4"):
        pytest.skip("mounting a disk takes Linux, root and mkfs.ext4")
    try:
        made = Disk(folder, megabytes)
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    try:
        yield made
    finally:
        made.close()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Suspend a process and its children within the block; kill them afterwards."""
    family = [pid]
    try:
        for each in family:  # grows during the loop; a suspended process starts no others
            os.kill(each, signal.SIGSTOP)
            family += _children(each)
        yield
    finally:
        for each in family:
            os.kill(each, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)

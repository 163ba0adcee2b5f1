"""Limits of disks and systems: full disks, read-only ones, maximum file sizes, no descriptors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toys"


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Mount a small file system in memory (`size=…`) at a new folder; skip the test if mounts are not allowed."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("mounts are tried on Linux")
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def read_only(place: Path) -> None:
    """Remount the file system read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def fill(place: Path) -> Path:
    """Fill the file system with one file."""
    file = place / "fill"
    with suppress(OSError), file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(4096))
    return file


def lorapipe(folder: Path, *words: str, **limits: int) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with resource limits such as RLIMIT_FSIZE=8192."""

    def limit() -> None:
        import resource

        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    paths = [str(ROOT), str(TOYS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-m", "lorapipe", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False, preexec_fn=limit,
    )  # fmt: skip

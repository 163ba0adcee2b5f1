"""Contents of an inbox: folders of pictures, and entries that are not files, too large, or unreadable; and a test clock."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from PIL import Image

SPARSE = 100_000_000_000
SIDE = 16
"""Of a picture in pixels."""
TOYS = """\
vars: {images: ., name: x, folder: .}
stages:
  text: {uses: words, folder: "${images}"}
  tally: {uses: count, text: $text, word: a}
  kept: {uses: keep, tally: $tally, to: "${folder}/${name}.html"}
"""
"""A pipeline for an inbox, without a training."""


class Clock:
    """A clock that tests can set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # an address has 100 letters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _linked_pipe(path: Path) -> None:
    inner = path.with_name(f"{path.name}.inner")
    os.mkfifo(inner)
    path.symlink_to(inner)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE)


IRREGULAR: dict[str, tuple[Callable[[Path], None], str]] = (
    {}
    if sys.platform == "win32"
    else {
        "pipe": (_pipe, "is a named pipe"),
        "socket": (_socket, "is a socket"),
        "device": (_endless, "is a link that leads out"),
        "linked pipe": (_linked_pipe, "is a named pipe"),
        "sparse": (_sparse, "is larger than"),
    }
)
"""Entries in place of a file: how to make them, and part of the message."""


def photographs(folder: Path, count: int = 3, text: str = "a b a") -> Path:
    """Create a folder with pictures of noise, and a text."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise = Random(index).randbytes(3 * SIDE * SIDE)
        Image.frombytes("RGB", (SIDE, SIDE), noise).save(folder / f"{index}.png")
    (folder / "words.txt").write_text(text, encoding="utf-8")
    return folder

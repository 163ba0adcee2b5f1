"""The folders of pictures of a kohya training: their names, repeats, and numbers of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lorapipe import kohya_folders
from lorapipe.picture_files import is_picture

MOST_FOLDERS = 2_000


@dataclass(frozen=True)
class PictureFolder:
    """A folder whose pictures are all used as often; `count` is None where it is not on this computer."""

    name: str
    repeats: int
    word: str
    count: int | None


@dataclass(frozen=True)
class KohyaFolders:
    """The folders below a `train_data_dir`: those that kohya reads, and those that it passes over."""

    used: tuple[PictureFolder, ...]
    skipped: tuple[str, ...]
    loose: int
    """Pictures in the folder itself, which kohya does not read."""

    @property
    def is_as_here(self) -> bool:
        """Whether lorapipe reads the same repeats and captions from the folders' names."""
        return all(
            (found := kohya_folders.parse(folder.name)) is not None
            and (found.repeats, found.word) == (folder.repeats, folder.word)
            for folder in self.used
        )


def read(root: Path) -> KohyaFolders:
    """Return the folders below `root` by kohya's rule: `N_words`, one level deep; `N` alone has no caption."""
    used, skipped, loose = [], [], 0
    for name, is_folder in sorted(_entries(root)):
        if not is_folder:
            loose += is_picture(name)
        elif (found := _parsed(name)) is not None and found[0] > 0:
            used.append(PictureFolder(name, *found, pictures_in(root / name)))
        elif not name.startswith("."):
            skipped.append(name)
    return KohyaFolders(tuple(used), tuple(skipped), loose)


def _parsed(name: str) -> tuple[int, str] | None:
    number, _, words = name.partition("_")
    return (int(number), words.strip()) if number.isdigit() and len(number) < 6 else None


def _entries(root: Path) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(root) as entries:
            for place, entry in enumerate(entries):
                if place > 200_000:
                    return
                yield entry.name, entry.is_dir()
    except OSError:
        return


def pictures_in(folder: Path) -> int:
    """Count the pictures of a folder, without its subfolders."""
    return sum(is_picture(name) for name, is_folder in _entries(folder) if not is_folder)

"""Folders of pictures as inputs of stages: the user's, and those that a stage has made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lorapipe.spec import Source


@dataclass(frozen=True)
class PictureFolder(Source):
    """A folder of pictures, or a stage that makes pictures: `$grown`."""

    artifact: ClassVar[str] = "Pictures"


def copy_into_one(folders: Sequence[Path], target: Path, exclude: Sequence[str]) -> None:
    """Copy the files of several folders into `target`, each folder into one named by its number: `1`, `2`.

    They are copies, not links: files of the store are made read-only, and the user's must stay as they are.
    """
    from lorapipe.training.data.image_folder import find

    for number, folder in enumerate(folders, start=1):
        names, _ = find(folder, exclude)
        for name in (name for name in names if not name.endswith("/")):
            place = target / str(number) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, place)

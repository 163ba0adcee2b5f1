"""The input files of a pipeline, which deliveries must never replace."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.pipeline.delivery_log import DeliveryLog
from lorapipe.spec import Source, Spec, knobs

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline


class Sources:
    """The inputs of a pipeline: its own files, and those that its stages name."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @cached_property
    def _paths(self) -> list[Path]:
        named = (path for spec in self._pipeline.stages.values() for path in _sources_in(spec))
        return [*dict.fromkeys((*self._pipeline.files, *named))]

    def has(self, place: Path, delivered: DeliveryLog) -> bool:
        """Whether the file at a path is a source, or is in a source folder and was not written by lorapipe.

        Files are compared by inode, so links and spellings in other case are recognised.
        """
        try:
            there = place.stat()
        except OSError:
            return False
        wanted = (there.st_dev, there.st_ino)
        found = [(path, seen) for path in self._paths if (seen := _stat(path)) is not None]
        if any((seen.st_dev, seen.st_ino) == wanted for _, seen in found):
            return True
        if there.st_size and not delivered.objection(place):
            return False
        folders = (path for path, seen in found if stat.S_ISDIR(seen.st_mode))
        return any(wanted in _files_in(folder) for folder in folders)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _sources_in(value: object) -> Iterator[Path]:
    if isinstance(value, Source):
        yield value.path
    elif isinstance(value, Spec):
        for knob in knobs(type(value)):
            yield from _sources_in(getattr(value, knob.name))
    elif isinstance(value, (tuple, list)):
        yield from (path for item in value for path in _sources_in(item))
    elif isinstance(value, Mapping):
        yield from _sources_in([*value.values()])


def _files_in(folder: Path) -> Iterable[tuple[int, int]]:
    """Yield device and inode of every file below a folder; links are followed."""
    seen, waiting = set[tuple[int, int]](), [str(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):  # hidden files are not sources
                    continue
                with suppress(OSError):
                    found = entry.stat()
                    place = (found.st_dev, found.st_ino)
                    if sys.platform == "win32":  # scandir does not set them
                        again = os.stat(entry.path)  # noqa: PTH116
                        place = (again.st_dev, again.st_ino)
                    if not stat.S_ISDIR(found.st_mode):
                        yield place
                    elif place not in seen:
                        seen.add(place)
                        waiting.append(entry.path)

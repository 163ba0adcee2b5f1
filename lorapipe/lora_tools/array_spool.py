"""Arrays that wait on the disk until a file is written, whose header needs the shapes of all of them first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lorapipe.fsync import make_folder

Array = npt.NDArray[Any]


class ArraySpool:
    """An unnamed file in a folder, which is gone with this object, also where the process is killed."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with the object)

    def put(self, array: Array) -> Callable[[], Array]:
        """Write an array, and return a function that reads it."""
        start = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return partial(self._read, start, array.shape, array.dtype)

    def _read(self, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        self._file.seek(start)
        found = np.empty(shape, dtype)
        self._file.readinto(found.reshape(-1).view(np.uint8).data)
        return found

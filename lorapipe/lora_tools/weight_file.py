"""Read a checkpoint's file tensor by tensor, into memory of its own: nothing is mapped, nothing is kept."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from lorapipe.errors import InputError
from lorapipe.models import TensorPlace
from lorapipe.models._safetensors_writer import NAMES
from lorapipe.models._tensor_index import AGAIN, SAFETENSORS, Shape, format_of, keys_of
from lorapipe.models._weight_files import read_tensors

DTYPES = {short: getattr(torch, name) for name, short in NAMES.items()}
"""safetensors' dtypes → torch's."""
PIECE = 1 << 17
"""Most elements that are read at once, where rows can be taken apart: 512 kB in float32, which stays in a core's cache."""
ROWS = 64
"""Rows are read in multiples of this, so that products of matrices are computed by the same kernels as at once."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file: its dtype, shape, and first byte (0 in a file of torch.save)."""

    dtype: torch.dtype
    shape: Shape
    start: int = 0

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


class WeightFile:
    """A safetensors file, or one of torch.save, as tensors by key, in the order of their bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        keys_of(path)  # raises a readable error if something is wrong with the file
        self.is_safetensors = format_of(path) == SAFETENSORS
        self.metadata: Mapping[str, str] = {}
        self.tensors: dict[str, StoredTensor] = self._headers() if self.is_safetensors else self._pickled_headers()

    def read(self, key: str) -> Tensor:
        """Return a tensor in its dtype and shape."""
        found = self.tensors[key]
        return self._elements(key, 0, found.count).reshape(found.shape)

    def rows(self, key: str, first: int, last: int) -> Tensor:
        """Return the rows from `first` to before `last` of a tensor."""
        shape = self.tensors[key].shape
        width = math.prod(shape[1:])
        return self._elements(key, first * width, last * width).reshape(last - first, *shape[1:])

    def at(self, place: TensorPlace) -> Tensor:
        """Return the tensor at a place as it is stored: of a stack, its slice."""
        if place.slices == 1:
            return self.read(place.key)
        height = self.tensors[place.key].shape[0] // place.slices
        return self.rows(place.key, place.slice_index * height, (place.slice_index + 1) * height)

    def pieces(self, key: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yield the rows from `first` to before `last` of a tensor, piece by piece: (first row of the piece, rows)."""
        found = self.tensors[key]
        if not found.shape or not found.count:
            yield 0, self.read(key)
            return
        width = math.prod(found.shape[1:])
        rows = max(ROWS, PIECE // width // ROWS * ROWS)
        last = found.shape[0] if last is None else last
        for row in range(first, last, rows):
            end = min(row + rows, last)
            yield row, self.rows(key, row, end)

    def _elements(self, key: str, first: int, last: int) -> Tensor:
        """Return elements `first` to `last` of a tensor."""
        found = self.tensors[key]
        if not self.is_safetensors:
            return self._pickled[key].reshape(-1)[first:last].clone()
        data = torch.empty((last - first) * found.dtype.itemsize, dtype=torch.uint8)
        self._open.seek(found.start + first * found.dtype.itemsize)
        view = memoryview(data.numpy())
        while view:
            read = self._open.readinto(view)
            if not read:
                raise InputError(f"ends within {key}.", where=str(self.path), cure=AGAIN)
            view = view[read:]
        return data.view(found.dtype)

    @cached_property
    def _open(self) -> FileIO:
        """The file, which stays open as long as this object lives: a checkpoint is read in thousands of pieces."""
        file = FileIO(self.path)
        weakref.finalize(self, file.close)
        return file

    def _headers(self) -> dict[str, StoredTensor]:
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        told = header.pop("__metadata__", None) or {}
        self.metadata = {str(key): str(value) for key, value in told.items()}
        if unknown := sorted({entry["dtype"] for entry in header.values()} - DTYPES.keys()):
            what = f"holds numbers of a type that is not read here: {unknown[0]}."
            raise InputError(what, where=str(self.path), cure="Take the model in fp16, bf16 or fp32.")
        ordered = sorted(header.items(), key=lambda item: item[1]["data_offsets"][0])
        return {
            key: StoredTensor(DTYPES[entry["dtype"]], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
            for key, entry in ordered
        }

    def _pickled_headers(self) -> dict[str, StoredTensor]:
        return {key: StoredTensor(tensor.dtype, tuple(tensor.shape)) for key, tensor in self._pickled.items()}

    @cached_property
    def _pickled(self) -> dict[str, Tensor]:
        return read_tensors(self.path)

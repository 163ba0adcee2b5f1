"""Read the headers of a file of tensors, and its numbers with NumPy, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lorapipe.errors import InputError
from lorapipe.file_signatures import kind_of
from lorapipe.formats import _safetensors_file
from lorapipe.formats._number_types import FLOATS, WHOLE, floats
from lorapipe.formats._weights import Stored
from lorapipe.formats.peft import Peft
from lorapipe.models._safetensors_writer import NAMES as OF_TORCH
from lorapipe.models._tensor_index import BITS, keys_of
from lorapipe.regular_files import open_regular

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats._number_types import Bits, Numbers

AGAIN = "Copy or download it again."
MOST_UNPICKLED = 300_000_000
"""Largest `.pt` file, in bytes, whose numbers are loaded: adapters are smaller."""


@dataclass(frozen=True)
class TensorHeader:
    """The header entry of a tensor, with those methods of torch's tensors that need only the shape."""

    shape: tuple[int, ...]
    dtype: str
    start: int = 0

    def dim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def flatten(self, first: int = 0) -> TensorHeader:
        """Return the header with the axes from `first` on merged into one."""
        return TensorHeader((*self.shape[:first], math.prod(self.shape[first:])), self.dtype)


@dataclass(frozen=True)
class TensorFile:
    """A file, or a PEFT folder: the headers of its tensors, its metadata, and a function that reads numbers."""

    path: Path
    size: int
    """Bytes."""
    container: str
    """`safetensors`, `PyTorch` or `PEFT folder`."""
    headers: Mapping[str, TensorHeader]
    stored: Stored
    """The headers in the form that formats read, with metadata and texts."""
    bits: Callable[[str], Bits | None]
    """Returns a tensor's numbers in its shape as they are stored; None for types that NumPy lacks (8 bits and fewer)."""

    def numbers(self, key: str) -> Numbers | None:
        """Return a tensor's numbers in its shape as float32, or float64 if it has that; None as `bits`."""
        found = self.bits(key)
        return None if found is None else floats(found, self.headers[key].dtype)


def open_file(path: Path) -> TensorFile:
    """Read a file's headers. `InputError`, with the path and if possible the key, if the file is invalid."""
    try:
        if Peft().holds(path) and (folder := Peft().read(path)) is not None:
            return _loaded(path, "PEFT folder", folder)
        with open_regular(path) as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=str(path)) from None
    except InputError as error:
        raise _at(path, error) from None
    if kind_of(head) in ("zip", "pickle"):
        return _pickled(path)
    try:
        return _safetensors(path)
    except InputError as error:
        raise _at(path, error) from None


def _at(path: Path, error: InputError) -> InputError:
    return InputError(replace(problem, where=problem.where or str(path)) for problem in error.problems)


def _safetensors(path: Path) -> TensorFile:
    header = _safetensors_file.header_of(path)
    assert header is not None  # of the largest size that there is
    with open_regular(path) as file:
        length, size = int.from_bytes(file.read(8), "little"), file.seek(0, 2)
    metadata = header.pop("__metadata__", None) or {}
    headers = {key: _header(key, entry, 8 + length, size) for key, entry in header.items()}
    stored = Stored(cast("Any", headers), {str(key): str(value) for key, value in metadata.items()})
    return TensorFile(path, size, "safetensors", headers, stored, lambda key: _read(path, headers[key]))


def _header(key: str, entry: Any, begin: int, size: int) -> TensorHeader:
    """Return a tensor's header. `InputError` unless its byte range fits its shape and lies inside the file."""
    try:
        start, end = entry["data_offsets"]
        found = TensorHeader(tuple(map(int, entry["shape"])), str(entry["dtype"]), begin + int(start))
        fits = found.numel() * BITS[found.dtype] == 8 * (end - start) and 0 <= start <= end <= size - begin
    except (TypeError, KeyError, ValueError, AttributeError, IndexError):
        fits = False
    if not fits:
        raise InputError(f"is damaged: the byte range of {key!r} in its header does not fit its shape.", cure=AGAIN)
    return found


def _read(path: Path, header: TensorHeader) -> Bits | None:
    import numpy as np

    kind = FLOATS.get(header.dtype) or WHOLE.get(header.dtype)
    if kind is None:
        return None
    with open_regular(path) as file:
        file.seek(header.start)
        plain = np.frombuffer(file.read(header.numel() * np.dtype(kind).itemsize), kind)
    return cast("Bits", plain.reshape(header.shape))


def _pickled(path: Path) -> TensorFile:
    """Read a file of torch.save; a large one, which cannot be an adapter, without numbers. It never runs code."""
    shapes, size = keys_of(path), path.stat().st_size
    headers = {key: TensorHeader(shape, "") for key, shape in shapes.items()}
    stored = Stored(cast("Any", headers))
    if size > MOST_UNPICKLED:
        return TensorFile(path, size, "PyTorch", headers, stored, lambda key: None)
    from lorapipe.formats import _torch_file

    return _loaded(path, "PyTorch", _torch_file.read(path))


def _loaded(path: Path, container: str, stored: Stored) -> TensorFile:
    """Return tensors that torch has loaded as a `TensorFile`."""
    headers = {
        key: TensorHeader(
            tuple(tensor.shape), OF_TORCH.get(str(tensor.dtype).removeprefix("torch."), str(tensor.dtype))
        )
        for key, tensor in stored.tensors.items()
    }
    size = sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
    told = replace(stored, tensors=cast("Any", headers))
    return TensorFile(path, size, container, headers, told, lambda key: _bits(stored.tensors[key]))


def _bits(tensor: Tensor) -> Bits | None:
    import torch

    if str(tensor.dtype).removeprefix("torch.") not in OF_TORCH:
        return None
    if tensor.dtype == torch.bfloat16:
        return cast("Bits", tensor.view(torch.int16).numpy().view("<u2"))
    return cast("Bits", tensor.numpy())

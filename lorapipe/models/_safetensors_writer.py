"""Write a safetensors file one tensor at a time, in the memory of the largest one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.models._tensor_index import BITS

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    import numpy.typing as npt
    import torch
    from torch import Tensor

    Numbers: TypeAlias = Tensor | npt.NDArray[Any]

NAMES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""torch's dtypes → safetensors'."""
UNKNOWN = "0" * 64
"""Placeholder for the tensors' digest in the header, which precedes them, until they are written."""


@dataclass(frozen=True)
class Entry:
    """A tensor of the file: shape, safetensors' dtype, and a function that computes it.

    That returns a tensor, possibly in another dtype, or a NumPy array of the file's own numbers (BF16: their bits).
    `pieces`, where given, yields it in pieces instead, whose elements follow each other.
    """

    shape: tuple[int, ...]
    dtype: str
    numbers: Callable[[], Numbers]
    pieces: Callable[[], Iterator[Numbers]] | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return BITS[self.dtype] // 8


def name_of(dtype: torch.dtype) -> str:
    """Return safetensors' name of torch's dtype."""
    return NAMES[str(dtype).removeprefix("torch.")]


def write(
    path: Path,
    entries: Mapping[str, Entry],
    metadata: Callable[[str], Mapping[str, str]],
    order: Sequence[str] = (),
    tell: Callable[[int], None] = lambda count: None,
) -> str:
    """Write a file, and return the SHA-256 of its tensors' bytes.

    `metadata` takes that SHA-256; the lengths of its values must not depend on it. `order` is that of the tensors; without
    it, they are sorted. `tell` gets the number of bytes after each piece.
    """
    if not order:
        order = sorted(entries, key=lambda name: (-entries[name].itemsize, name))  # so that all are aligned
    start = _header(entries, order, metadata(UNKNOWN))
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(start)
        for name in order:
            entry = entries[name]
            for piece in entry.pieces() if entry.pieces else (entry.numbers().reshape(entry.shape),):
                if data := _bytes(piece, entry.dtype):
                    digest.update(data)
                    file.write(data)
                    tell(len(data))
        whole = _header(entries, order, metadata(digest.hexdigest()))
        if len(whole) != len(start):
            raise AssertionError("the metadata's length depends on the digest")
        file.seek(0)
        file.write(whole)
    return digest.hexdigest()


def _bytes(piece: Numbers, dtype: str) -> memoryview:
    """Return the bytes of numbers in the file."""
    import numpy as np

    if isinstance(piece, np.ndarray):
        return np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
    import torch

    kind = next(getattr(torch, name) for name, short in NAMES.items() if short == dtype)
    return memoryview(piece.detach().to("cpu", kind).contiguous().reshape(-1).view(torch.uint8).numpy())


def _header(entries: Mapping[str, Entry], order: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    at = 0
    for name in order:
        entry = entries[name]
        size = entry.itemsize
        for side in entry.shape:
            size *= side
        header[name] = {"dtype": entry.dtype, "shape": [*entry.shape], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text

"""Reads and writes safetensors files, and says why a file cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError, Problem
from lorapipe.file_signatures import PACKED, PICTURES, kind_of
from lorapipe.formats._weights import Stored
from lorapipe.regular_files import open_regular

if TYPE_CHECKING:
    from torch import Tensor

MOST_HEADER = 100_000_000
"""Largest header that the format allows, in bytes."""
MOST_LOOKED_AT = 4_000_000
"""Largest header that is checked before a run, in bytes; a LoRA's has some hundred thousand."""
BEGINNINGS = (
    (b"<", "is a web page, not a LoRA", "Download the file itself."),
    (b"version https://git-lfs", "is a pointer to a file that was not downloaded (git LFS)", "Fetch the file itself."),
    (b"PK\x03\x04", "is a zip or a PyTorch file, not safetensors", "Save it as safetensors."),
    (b"\x80", "is a pickle, not safetensors", "Save it as safetensors."),
    (b"\0\0\0\0\0\0\0\0", "holds nothing but zeros", "Copy it again."),
)
"""(first bytes, what the file is, cure) of files that are not safetensors."""
OTHERS = {
    **dict.fromkeys(PICTURES, ("is a picture, not a LoRA", "Name a LoRA's file.")),
    **dict.fromkeys(PACKED, ("is a packed archive", "Unpack it, and name the file in it.")),
    "GGUF": ("is a GGUF file, not a LoRA", "Name a LoRA's .safetensors file."),
}
"""Kind of `file_signatures` → (what the file is, cure)."""


def read(path: Path) -> Stored:
    """Read a file's tensors and metadata; `InputError` where it is no complete safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with open_regular(path) as start:
            first = start.read(64)
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return Stored(tensors, dict(file.metadata() or {}))
    except OSError as error:
        raise InputError(unreadable(error)) from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(_no_safetensors(first, str(error).partition("\n")[0][:200])) from None


def keys(path: Path) -> list[str] | None:
    """Return a file's keys from its header alone: fast, and without torch.

    `InputError` where it is no complete safetensors file; None where the header is too long to check.
    """
    found = header_of(path, MOST_LOOKED_AT)
    return None if found is None else [key for key in found if key != "__metadata__"]


def header_of(path: Path, most: int = MOST_HEADER) -> dict[str, Any] | None:
    """Return a file's header; None where it has more than `most` bytes. `InputError` as `keys`."""
    header = None
    try:
        with open_regular(path) as file:
            first = file.read(64)
            length, size = int.from_bytes(first[:8], "little"), file.seek(0, 2)
            if most < length <= MOST_HEADER and first[8:9] == b"{":
                return None
            file.seek(8)
            header = json.loads(file.read(length)) if len(first) > 8 and length <= most else None
    except OSError as error:
        raise InputError(unreadable(error)) from None
    except (ValueError, RecursionError):
        pass  # said below
    if not isinstance(header, dict):
        raise InputError(_no_safetensors(first, "it has no header"))
    if missing := 8 + length + _end(header) - size:
        why = f"{missing:,} bytes are missing" if missing > 0 else f"{-missing:,} bytes are too many"
        raise InputError(_no_safetensors(first, why))
    return header


def serialize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a file's bytes, with sorted metadata: the library's order differs from process to process."""
    from safetensors.torch import save

    plain = save(dict(tensors))
    end = 8 + int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(plain[8:end])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(plain)[end:]])  # one copy, of gigabytes


def _end(header: Mapping[str, Any]) -> int:
    """Return the length of the data by a header; 0 where the header is invalid."""
    try:
        return max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    except (TypeError, KeyError, IndexError):
        return 0


def unreadable(error: OSError) -> Problem:
    """Return the problem of a file that cannot be opened."""
    return Problem(f"cannot be read: {error.strerror or error}.", cure="Is it the right file?")


def _no_safetensors(first: bytes, why: str) -> Problem:
    for beginning, what, cure in BEGINNINGS:
        if first.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(beginning):
            return Problem(f"{what}.", cure=cure)
    if (other := OTHERS.get(kind_of(first))) is not None:
        return Problem(f"{other[0]}.", cure=other[1])
    what = f"is not a whole safetensors file ({why})" if first else "is empty"
    return Problem(f"{what}.", cure="Copy or download it again.")

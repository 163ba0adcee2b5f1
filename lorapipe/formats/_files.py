"""An adapter's file → what is in it, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError, Problem
from lorapipe.file_signatures import PACKED, PICTURES, kind_of
from lorapipe.formats import AdapterWeights, Names
from lorapipe.regular_files import open_regular

if TYPE_CHECKING:
    import torch

MOST_HEADER = 100_000_000
"""Bytes of a header: the format allows no more."""
MOST_LOOKED_AT = 4_000_000
"""Bytes of one that is looked at before anything runs: a LoRA's has some hundred thousand."""
BEGINNINGS = (
    (b"<", "is a web page, not a LoRA", "Download the file itself."),
    (b"version https://git-lfs", "is a pointer to a file that was not downloaded (git LFS)", "Fetch the file itself."),
    (b"PK\x03\x04", "is a zip or a PyTorch file, not safetensors", "Save it as safetensors."),
    (b"\x80", "is a pickle, not safetensors", "Save it as safetensors."),
    (b"\0\0\0\0\0\0\0\0", "holds nothing but zeros", "Copy it again."),
)
"""How a file begins that is no safetensors file, what it is, and what to do."""
OTHERS = {
    **dict.fromkeys(PICTURES, ("is a picture, not a LoRA", "Name a LoRA's file.")),
    **dict.fromkeys(PACKED, ("is a packed archive", "Unpack it, and name the file in it.")),
    "GGUF": ("is a GGUF file, not a LoRA", "Name a LoRA's .safetensors file."),
}
"""The same of kinds that are known by their first bytes."""


def load(path: Path, names: Names) -> AdapterWeights:
    """The adapter in a file with kohya's keys, or diffusers'. `InputError`, with the file, for all that is wrong."""
    from lorapipe.formats._dialects import in_kohyas_keys
    from lorapipe.formats.kohya import Kohya

    try:
        return Kohya().load(in_kohyas_keys(*_opened(path), names), names)
    except InputError as error:
        raise InputError(Problem(each.what, str(path), each.cure) for each in error.problems) from None


def complaints(path: Path) -> Iterator[Problem]:
    """What is wrong with a file, as far as its header tells: light and quick, and without torch."""
    from lorapipe.formats._dialects import DIFFUSERS, described
    from lorapipe.formats.kohya import sorted_out

    header = None
    try:
        with open_regular(path) as file:
            first = file.read(64)
            length, size = int.from_bytes(first[:8], "little"), file.seek(0, 2)
            if MOST_LOOKED_AT < length <= MOST_HEADER and first[8:9] == b"{":
                return  # it is told when the file is read, where that may take its time
            file.seek(8)
            header = json.loads(file.read(length)) if len(first) > 8 and length <= MOST_LOOKED_AT else None
    except OSError as error:
        yield _unreadable(error)
        return
    except (ValueError, RecursionError):
        pass  # said below
    if not isinstance(header, dict):
        yield _no_safetensors(first, "it has no header")
        return
    if missing := 8 + length + _end(header) - size:
        why = f"{missing:,} bytes are missing" if missing > 0 else f"{-missing:,} bytes are too many"
        yield _no_safetensors(first, why)
        return
    _, others = sorted_out(dict.fromkeys(key for key in header if key != "__metadata__"))
    yield from described(key for key in others if not DIFFUSERS.fullmatch(key))


def _end(header: Mapping[str, Any]) -> int:
    """Where the numbers end, counted from the header's end; 0 where a header says nothing that can be right."""
    try:
        return max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    except (TypeError, KeyError, IndexError):
        return 0


def _opened(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with open_regular(path) as start:
            first = start.read(64)
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except OSError as error:
        raise InputError(_unreadable(error)) from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(_no_safetensors(first, str(error).partition("\n")[0][:200])) from None


def _unreadable(error: OSError) -> Problem:
    return Problem(f"cannot be read: {error.strerror or error}.", cure="Is it the right file?")


def _no_safetensors(first: bytes, why: str) -> Problem:
    for beginning, what, cure in BEGINNINGS:
        if first.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(beginning):
            return Problem(f"{what}.", cure=cure)
    if (other := OTHERS.get(kind_of(first))) is not None:
        return Problem(f"{other[0]}.", cure=other[1])
    what = f"is not a whole safetensors file ({why})" if first else "is empty"
    return Problem(f"{what}.", cure="Copy or download it again.")

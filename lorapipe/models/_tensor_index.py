"""Identify a weight file by its content, not its name: list its tensors, or say what it is instead.

Reads only headers and needs no torch, since `check` and `plan` call it. All readers of bases use it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from lorapipe.errors import InputError
from lorapipe.file_signatures import PICTURES, kind_of
from lorapipe.models import _torch_file
from lorapipe.models._pickle_reader import Refused
from lorapipe.models._torch_file import Numbers

Shape = tuple[int, ...]
Reader = Callable[[IO[bytes]], Mapping[str, Any]]
SAFETENSORS, ZIP, PICKLE = "safetensors", "zip", "pickle"
SETTLED = 2_000_000_000
PICKLES: Mapping[str, Reader] = {ZIP: _torch_file.in_zip, PICKLE: _torch_file.in_pickles}
MOST_HEADER = 32 << 20
"""Most bytes of a safetensors header; the largest in use have one or two million."""
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip
"""safetensors' dtypes → bits of an element."""

AGAIN = "Copy or download it again."
PAGE = "The download ended at a login or an error page: sign in there, and download the file itself."
UNPACK = "Unpack it, and name the model in it."
TAKE = "Use the .safetensors file of this model."
OTHERS: Mapping[str, tuple[str, str]] = {
    "Git LFS": ("is a Git LFS pointer: some lines of text instead of the model.",
                "Run `git lfs pull` where it was cloned, or download the file itself."),
    **{kind: (f"is a picture ({kind}), not a model.", "") for kind in PICTURES},
    "RIFF": ("is a picture or a sound (RIFF), not a model.", ""),
    "GGUF": ("is a GGUF file: its weights are quantised for inference and cannot be trained on.", TAKE),
    **{kind: (f"is a packed archive ({kind}).", UNPACK) for kind in ("7z", "RAR")},
    **{kind: (f"is a packed file ({kind}).", UNPACK) for kind in ("gzip", "bzip2", "xz", "zstd")},
    "HDF5": ("is an HDF5 file (Keras), not a checkpoint of torch.", TAKE),
    "PDF": ("is a PDF, not a model.", ""),
}  # fmt: skip
"""Kind by the first bytes → what it is, and what to do."""


def format_of(path: Path) -> str:
    """Return `safetensors`, `zip` or `pickle` (the two formats of torch.save). `InputError` for any other file."""
    return _asked(path, _format)


def keys_of(path: Path) -> Mapping[str, Shape]:
    """Return key → shape of every tensor. Reads only the header, and caches the result while the file does not change."""
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    read = _keys if settled(state.st_mtime_ns) else _keys.__wrapped__
    return read(path, state.st_size, state.st_mtime_ns)


def flat(shape: Shape) -> Shape:
    """Return a shape without the trailing ones of a 1×1 convolution, so that it equals a Linear layer's."""
    return shape[:2] if len(shape) > 2 and all(side == 1 for side in shape[2:]) else shape


def settled(changed: int) -> bool:
    """Return whether a file's modification time (ns) is old enough to identify its content: not right after writing."""
    return time.time_ns() - changed > SETTLED


def numbers_of(path: Path) -> Mapping[str, Numbers]:
    """Return the positions of the tensors in a file of torch.save."""
    found: Mapping[str, Numbers] = _asked(path, _reading(PICKLES))
    return found


def settings_of(path: Path) -> Mapping[str, Any]:
    """Return a `torch.save` file's other values: numbers, texts, and lists of them."""
    found: Mapping[str, Any] = _asked(path, _torch_file.settings_of)
    return found


@lru_cache(maxsize=64)
def _keys(path: Path, size: int, changed: int) -> Mapping[str, Shape]:
    found = _asked(path, _reading({**PICKLES, SAFETENSORS: _header}))
    return {key: getattr(place, "shape", place) for key, place in found.items()}


def _reading(readers: Mapping[str, Reader]) -> Reader:
    def read(file: IO[bytes]) -> Mapping[str, Any]:
        reader = readers[_format(file)]
        file.seek(0)
        return reader(file)

    return read


def _asked(path: Path, reader: Callable[[IO[bytes]], Any]) -> Any:
    """Return what a reader finds in a file. All failures become `InputError`."""
    try:
        with _opened(path) as file:
            return reader(file)
    except InputError:
        raise
    except Refused as refused:
        raise InputError(refused.what, where=str(path), cure=refused.cure) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:  # damaged files raise many types of errors
        raise InputError("is damaged: it is not a readable checkpoint.", where=str(path), cure=AGAIN) from error


def _opened(path: Path) -> IO[bytes]:
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            what = "is a folder, not a file." if path.is_dir() else "is not a file, but a pipe or a device."
            raise InputError(what, where=str(path), cure="Name the model's file.")
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot be read: {error.strerror or error}.", where=str(path))


# ------------------------------------------------------------------------------------------------------ the first bytes


def _format(file: IO[bytes]) -> str:
    head = file.read(4096)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= MOST_HEADER:
        return SAFETENSORS
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZIP
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return PICKLE
    raise Refused(*_instead(head, os.fstat(file.fileno()).st_size))


def _instead(head: bytes, size: int) -> tuple[str, str]:
    """Return what a file that is not a checkpoint seems to be, and what to do."""
    if not head:
        return "is empty.", AGAIN
    if not head.strip(b"\0"):
        return "begins with zeros only: a copy or a download was not finished.", AGAIN
    if (found := OTHERS.get(kind_of(head))) is not None:
        what, cure = found
        return what, cure or "Name the model's file."
    if head[257:262] == b"ustar":
        return "is a packed archive (tar).", "Unpack it, and name the model in it."
    if (text := _text(head)) is None:
        return f"is not a checkpoint: its first bytes ({head[:4].hex(' ')}) are those of no known format.", AGAIN
    if text[:100].lower().startswith(("<!doctype", "<html", "<head", "<?xml", "<body")):
        return "is a web page, not a model.", PAGE
    begins = " ".join(text[:40].split())
    if text.startswith("{") and size < 100_000:
        return f"is a text (JSON) of {size:,} bytes, not a model: {begins} …", "Download or name the model's own file."
    return f"is a text of {size:,} bytes, not a model: {begins} …", "Download or name the model's own file."


def _text(head: bytes) -> str | None:
    """Return the bytes as text; None if they are not text."""
    try:
        text = head[: len(head) - 3 if len(head) > 64 else None].decode("utf-8-sig", "strict").lstrip()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:  # not only a character cut at the end
            return None
        text = head[: error.start].decode("utf-8-sig").lstrip()
    return text if text and all(letter.isprintable() or letter.isspace() for letter in text) else None


# ---------------------------------------------------------------------------------------------------------- safetensors


def _header(file: IO[bytes]) -> dict[str, Shape]:
    """Return key → shape from a safetensors header, which must be consistent with the file, as safetensors requires."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if 8 + length > size:
        raise Refused(
            f"is not a readable checkpoint: it ends within its header; at least {8 + length - size:,} bytes are missing."
        )
    header = json.loads(file.read(length).decode("utf-8"))
    entries = {key: _entry(entry) for key, entry in header.items() if key != "__metadata__"}
    end = 0
    for start, stop, _ in sorted(entries.values()):
        if start != end:
            raise ValueError("a gap or an overlap")
        end = stop
    if 8 + length + end > size:
        missing = 8 + length + end - size
        raise Refused(
            f"is not a readable checkpoint: it is truncated; {missing:,} of {8 + length + end:,} bytes are missing."
        )
    if 8 + length + end < size:
        raise Refused("is damaged: it is longer than its header says.")
    return {key: shape for key, (_, _, shape) in entries.items()}


def _entry(entry: Any) -> tuple[int, int, Shape]:
    """Return (first byte, byte after the last, shape) of a tensor. Raises ValueError and others if inconsistent."""
    (start, stop), shape, bits = entry["data_offsets"], entry["shape"], BITS[entry["dtype"]]
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in (start, stop, *shape)):
        raise ValueError("no numbers")
    for side in shape:
        if (bits := bits * side) >= 1 << 66:
            raise ValueError("too large")
    if bits != 8 * (stop - start):
        raise ValueError("sizes do not fit")
    return start, stop, tuple(shape)

"""Safetensors files whose header lies, and configurations and indexes that are damaged, through every reader of bases."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorapipe import pocket
from lorapipe.errors import InputError
from lorapipe.models import Checkpoint
from lorapipe.models._tensor_index import keys_of
from lorapipe.models._weight_files import read_tensors, vae_tensors
from lorapipe.models.sd15 import SD15
from lorapipe.spec import Source

CASES = 120
KEY = "first_stage_model.encoder.conv_in.weight"
NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2**31, 2**53, 2**63, 2**64, 10**400, 0.5, 1e400, float("nan"), True, None, "4", [], {}, [4], -(2**63),
)  # fmt: skip
DTYPES: tuple[Any, ...] = ("F32", "F16", "BF16", "F8_E4M3", "F4", "I64", "X9", "", None, 4, ["F32"], "f32", "BOOL")


def case(seed: int, folder: Path) -> str:
    """See tests/fuzzers/README.md."""
    draw = random.Random(seed)
    if seed % 6 == 5:
        return _settings(draw, folder)
    file = folder / "x.safetensors"
    file.write_bytes(MAKERS[seed % len(MAKERS)](draw))
    return asked(file)


def asked(file: Path) -> str:
    """What goes wrong when a file is read as a base, as a VAE and as a part of a folder; nothing but `InputError` may."""
    given = SD15(checkpoint=Checkpoint(file))
    other = SD15(checkpoint=Checkpoint(pocket.BASE), vae=Source(file))
    readers: dict[str, Callable[[], object]] = {
        "keys": lambda: keys_of(file),
        "tensors": lambda: read_tensors(file),
        "vae": lambda: vae_tensors(file, dict(given.known["vae"])),
        "check": lambda: list(given.problems()),
        "check of a vae": lambda: list(other.problems()),
        "load": lambda: given.load("cpu"),
    }
    for name, reader in readers.items():
        try:
            reader()
        except InputError as error:
            if not all(problem.what and len(str(problem)) < 2000 for problem in error.problems):
                return f"{name}: no words: {error}"
        except Exception as error:
            return f"{name}: {type(error).__name__}: {str(error)[:200]}"
    return ""


def _settings(draw: random.Random, folder: Path) -> str:
    """A folder of which one small file is damaged."""
    base = folder / "base"
    shutil.copytree(pocket.BASE, base)
    file = draw.choice(sorted(base.rglob("*.json")))
    text = file.read_text(encoding="utf-8")
    damaged: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: b"[" * 100_000,
        lambda: text[: draw.randrange(len(text))].encode(),
        lambda: draw.randbytes(200),
        lambda: b"null",
        lambda: json.dumps(
            {key: draw.choice(NUMBERS) if draw.random() < 0.3 else v for key, v in json.loads(text).items()}
        ).encode(),
        lambda: json.dumps(dict(list(json.loads(text).items())[::2])).encode(),
    ]
    file.write_bytes(draw.choice(damaged)())
    given = SD15(checkpoint=Checkpoint(base))
    try:
        list(given.problems())
        list(given.problems_of_captions())
        with contextlib.suppress(InputError):
            given.native_size(), given.size_step(), given.footprint()
        with contextlib.suppress(InputError):
            given.load("cpu")
    except Exception as error:
        return f"{file.relative_to(base)}: {type(error).__name__}: {str(error)[:200]}"
    return ""


# --------------------------------------------------------------------------------------------------------------- headers


def _entries(draw: random.Random) -> dict[str, Any]:
    """A right header of some tensors of 4 to 16 bytes."""
    entries, end = {}, 0
    for number in range(draw.randint(1, 5)):
        size = draw.randint(1, 4)
        key = KEY if number == 0 else f"k{number}"
        entries[key] = {"dtype": "F32", "shape": [size], "data_offsets": [end, end + 4 * size]}
        end += 4 * size
    return entries


def _file(header: bytes, data: int = 64, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + bytes(data)


def _numbers(draw: random.Random) -> bytes:
    entries = _entries(draw)
    entry = entries[draw.choice(sorted(entries))]
    for _ in range(draw.randint(1, 3)):
        field = draw.choice(["shape", "data_offsets"])
        value = draw.choice(
            [[draw.choice(NUMBERS)], [draw.choice(NUMBERS), draw.choice(NUMBERS)], draw.choice(NUMBERS)]
        )
        entry[field] = value
    return _file(json.dumps(entries).encode(), draw.randint(0, 80))


def _types(draw: random.Random) -> bytes:
    entries = _entries(draw)
    for entry in entries.values():
        entry["dtype"] = draw.choice(DTYPES)
    if draw.random() < 0.3:
        entries["__metadata__"] = draw.choice([None, 4, {"a": 4}, {"a": "b"}, [], "x", {"a": {"b": "c"}}])
    if draw.random() < 0.3:
        entries[draw.choice(["", "\0", "a" * 70_000, "../x", "\ud800"])] = draw.choice([None, [], {}, "x", 4])
    size = max(
        (entry["data_offsets"][1] for entry in entries.values() if isinstance(entry, dict) and "data_offsets" in entry),
        default=0,
    )
    return _file(json.dumps(entries).encode(), size)


def _overlaps(draw: random.Random) -> bytes:
    entries = _entries(draw)
    for entry in entries.values():
        start, stop = entry["data_offsets"]
        shift = draw.choice([0, 4, -4, 64, 2**40])
        entry["data_offsets"] = draw.choice([[start + shift, stop + shift], [stop, start], [start, stop + shift]])
    return _file(json.dumps(entries).encode(), draw.choice([0, 16, 64, 300]))


def _lengths(draw: random.Random) -> bytes:
    header = json.dumps(_entries(draw)).encode()
    claims = [0, 1, 2, 7, len(header) - 1, len(header) + 1, len(header) + 65, 10**6, 2**31, 2**62, 2**63, 2**64 - 1]
    return _file(header, length=draw.choice(claims))[: draw.choice([3, 8, 9, 40, None])]


def _texts(draw: random.Random) -> bytes:
    header = json.dumps(_entries(draw)).encode()
    inner = header[1:-1]
    odd = [
        b"{" + inner + b"," + inner + b"}",
        b'{"a":' * 60_000,
        b"{" + b"[" * 60_000,
        b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
        b"{}",
        b"{" + inner + b",}",
        b"{\xff\xfe}",
        b"{" + inner + b"}" + b" " * 100,
        b"{" + inner + b"}\0\0",
        b'{"a": 1e999}',
        b"{" + inner + b"}{}",
        b'{"' + b"x" * 200_000,
        header[: draw.randrange(1, len(header))],
        b"{" + draw.randbytes(50),
    ]
    return _file(draw.choice(odd), draw.choice([0, 16, 64]))


MAKERS: tuple[Callable[[random.Random], bytes], ...] = (_numbers, _types, _overlaps, _lengths, _texts)

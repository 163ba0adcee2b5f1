"""Find the position of each tensor in a file of `torch.save`, without reading weights and without torch.

Both formats are supported: the zip archive since torch 1.6 (2020), and the older one, a few pickles followed by the
storages.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from lorapipe.models._pickle_reader import ITEM, MOST_BYTES, Broken, Pickle, Refused, Storage, View

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The first values of the older format."""
MODELS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Numbers:
    """A tensor's position: a storage of `count` elements from byte `start` of the file, and a view (`torch.as_strided`)."""

    dtype: str
    start: int
    count: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def settings_of(file: IO[bytes]) -> dict[str, Any]:
    """Return a file's other values by name: numbers, texts, and lists of them."""
    if file.read(1) == b"\x80":
        file.seek(0)
        stream = io.BytesIO(file.read(MOST_BYTES))
        _, _, _, whole = (Pickle(stream).value() for _ in range(4))
    else:
        archive = zipfile.ZipFile(file)
        index = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
        whole = Pickle(io.BytesIO(_entry(archive, index))).value()
    pairs = whole.items() if isinstance(whole, dict) else ()
    return {key: value for key, value in pairs if isinstance(key, str) and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) < 100 and all(isinstance(each, (str, int, float)) for each in value)
    return value is None or isinstance(value, (str, int, float))


def in_zip(file: IO[bytes]) -> dict[str, Numbers]:
    """Return key → position of every tensor in a zip file; see `_state` for which tensors."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise Refused("is not a readable checkpoint: it is truncated.") from None
    entries = {entry.filename: entry for entry in archive.infolist()}
    index = next((name for name in entries if name.rpartition("/")[2] == "data.pkl"), None)
    if index is None:
        raise _another_zip([*entries])
    root = index.removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise Refused("is a TorchScript program, not only weights.", "Use the checkpoint from which it was made.")
    if f"{root}byteorder" in entries:
        _same_order(_entry(archive, f"{root}byteorder") == b"little")
    found = _state(Pickle(io.BytesIO(_entry(archive, index))).value())

    def place(storage: Storage) -> tuple[int, int]:
        if (entry := entries.get(f"{root}data/{storage.key}")) is None:
            raise Refused(f"is not a readable checkpoint: its entry data/{storage.key} is missing.")
        if entry.compress_type != zipfile.ZIP_STORED:
            cure = "Unpack it and pack it again without compression, or use its .safetensors file."
            raise Refused("is a compressed zip, whose weights cannot be read in place.", cure)
        file.seek(entry.header_offset)
        head = file.read(30)
        names = sum(int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
        return entry.header_offset + 30 + names, entry.file_size

    return _placed(found, place, file.seek(0, 2))


def in_pickles(file: IO[bytes]) -> dict[str, Numbers]:
    """Return key → position of every tensor in a file of the older format."""
    stream = io.BytesIO(file.read(MOST_BYTES))
    if Pickle(stream).value() != MAGIC:
        raise Refused("is a pickle that torch.save did not write.", "Save the model's state_dict with torch.save.")
    if Pickle(stream).value() != PROTOCOL:
        raise Broken
    system, whole = Pickle(stream).value(), Pickle(stream)
    _same_order(isinstance(system, dict) and system.get("little_endian", True) is True)
    found, keys = _state(whole.value()), Pickle(stream).value()
    sizes = {storage.key: storage.count * ITEM[storage.dtype] for storage in whole.storages}
    at, places = stream.tell(), dict[str, tuple[int, int]]()
    for key in map(str, keys if isinstance(keys, list) else ()):
        places[key] = at + 8, sizes[key]  # after their count, which is repeated
        at += 8 + sizes[key]
    return _placed(found, lambda storage: places[storage.key], file.seek(0, 2))


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as entry:
        data = entry.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Refused("has more than 16 MB of data besides its weights.", "Use its .safetensors file.")
    return data


def _same_order(little: bool) -> None:
    if not little:
        raise Refused("was written on a machine with another byte order.", "Use its .safetensors file.")


def _another_zip(names: list[str]) -> Refused:
    inside = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    models = [name for name in names if name.lower().endswith(MODELS)]
    cure = f"Unpack it, and name {models[0]}." if models else "Name the model's own file."
    return Refused(f"is a zip archive (in it: {inside or 'nothing'}), not a checkpoint.", cure)


def _state(loaded: Any) -> dict[str, View]:
    """Return the tensors of a saved object: of its `state_dict`, its own, or of the only mapping in it that has tensors."""
    whole = loaded if isinstance(loaded, dict) else {}
    if found := _pairs(whole):
        return found
    if found := _tensors(whole.get("state_dict", whole)):
        return found
    inner = [tensors for value in whole.values() if (tensors := _tensors(value))]
    return inner[0] if len(inner) == 1 else {}


def _pairs(whole: Mapping[Any, Any]) -> dict[str, View]:
    """Return the tensors of A1111's hypernetworks: context width → (network of keys, network of values)."""
    return {
        f"hypernetwork.{width}.{which}.{key}": view
        for width, pair in whole.items()
        if isinstance(width, int) and isinstance(pair, (tuple, list))
        for which, mapping in enumerate(pair)
        for key, view in _tensors(mapping).items()
    }


def _tensors(mapping: Any) -> dict[str, View]:
    found = mapping if isinstance(mapping, dict) else {}
    return {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, View)}


def _placed(found: Mapping[str, View], place: Callable[[Storage], tuple[int, int]], size: int) -> dict[str, Numbers]:
    """Turn views into positions, checked against the file's size. `place` returns a storage's start and number of bytes."""
    places: dict[str, tuple[int, int]] = {}
    placed = {}
    for key, view in found.items():
        storage = view.storage
        if storage.key not in places:
            places[storage.key] = place(storage)
        start, there = places[storage.key]
        if start + there > size:
            raise Refused(
                f"is not a readable checkpoint: it is truncated; at least {start + there - size:,} bytes are missing."
            )
        begin, length = storage.begin * ITEM[storage.dtype], storage.count * ITEM[storage.dtype]
        count = length // ITEM[view.dtype]
        shown = math.prod(view.shape)
        last = view.offset + sum((n - 1) * step for n, step in zip(view.shape, view.stride, strict=True))
        if begin + length > there or shown * ITEM[view.dtype] > size or (shown and last >= count):
            raise Broken  # also a view that repeats an element until it is larger than the file
        placed[key] = Numbers(view.dtype, start + begin, count, view.offset, view.shape, view.stride)
    return placed

"""What can be seen in the pictures of a folder: sizes, transparent and grey ones, near-duplicates.

Each picture is decoded once, and small; what was seen is kept in the user's cache folder, by size and time of the file. Of
folders that would take long, all headers are read, and the pixels of as many pictures as fit `SECONDS`, evenly spaced.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.atomic import write_text
from lorapipe.series import evenly_spaced
from lorapipe.user_folders import picture_facts_folder

if TYPE_CHECKING:
    from lorapipe.picture_files import Contents
    from lorapipe.training.data.buckets import Pair

VERSION = 1
"""Of the cache; bump when a picture's facts change."""
SECONDS = 9.0
"""CPU time for the pixels of a folder, as estimated from formats and sizes, so that the same folder gives the same facts."""
JPEG, OTHERS = 0.004, 0.03
"""CPU seconds to look at a picture of a million pixels: a JPEG is decoded at an eighth of its size."""
OVERHEAD = 0.0015
GREY = 6
"""Largest difference of a cell's colour channels, in levels of 255, of a picture without colours."""
TOLERANCE = 10
"""That of `prepare`, by which near-duplicates are left out."""
MOST_COMPARED = 200
"""Most candidates that are compared in detail; further ones count as different."""


@dataclass(frozen=True)
class PictureFacts:
    """What was seen in a picture: (width, height) upright; `signature` is empty where the pixels were not looked at."""

    size: Pair
    transparent: bool = False
    signature: bytes = b""

    @property
    def grey(self) -> bool:
        """Whether it has no colours, as far as was seen."""
        cells = self.signature
        triples = zip(cells[::3], cells[1::3], cells[2::3], strict=True)
        return bool(cells) and all(max(triple) - min(triple) <= GREY for triple in triples)


def look(root: Path, contents: Contents, *, further: bool = False) -> dict[str, PictureFacts]:
    """Return the facts of each readable picture of a folder, by its relative name.

    With `further`, pixels of pictures that no earlier call could afford are looked at, within `SECONDS`, too.
    """
    stored = _load(root)
    states = {name: state for name in contents.pictures if (state := _state(root / name))}
    known = {name: stored[name][1] for name, state in states.items() if stored.get(name, (None,))[0] == state}
    fresh = [name for name in states if _is_fresh(known.get(name), further)]
    if fresh:
        known |= _looked_at(root, fresh, known)
        with suppress(OSError):
            _save(root, {name: (states[name], found) for name, found in known.items()})
    return {name: known[name] for name in contents.pictures if name in known}


def _is_fresh(known: PictureFacts | None, further: bool) -> bool:
    return known is None or (further and not known.signature)


def _looked_at(root: Path, names: Sequence[str], known: Mapping[str, PictureFacts]) -> dict[str, PictureFacts]:
    """Look at pictures; the sizes of `known` ones are not read again."""
    from lorapipe.training.data.image_reader import Unreadable, quiet
    from lorapipe.training.data.images import header_size

    found: dict[str, PictureFacts] = {}
    with quiet():
        for name in names:
            with suppress(Unreadable):
                found[name] = known.get(name) or PictureFacts(header_size(root / name))
        for name in _affordable({name: found[name].size for name in names if name in found}):
            try:
                found[name] = _glanced(root / name)
            except Unreadable:
                del found[name]
    return found


def _affordable(sizes: Mapping[str, Pair]) -> Sequence[str]:
    """Return the pictures whose pixels can be looked at within `SECONDS`: all, or some, evenly spaced."""
    costs = {name: _seconds(name, size) for name, size in sizes.items()}
    total = sum(costs.values())
    count = len(costs) if total <= SECONDS else max(1, int(len(costs) * SECONDS / total))
    return evenly_spaced([*costs], count)


def _seconds(name: str, size: Pair) -> float:
    each = JPEG if name.lower().endswith((".jpg", ".jpeg", ".jfif", ".jpe")) else OTHERS
    return OVERHEAD + each * size[0] * size[1] / 1e6


def _glanced(path: Path) -> PictureFacts:
    """Look at a picture's pixels. Raises `Unreadable`."""
    from lorapipe.training.data.duplicates import GLANCE, signature
    from lorapipe.training.data.image_reader import opened, reading, room
    from lorapipe.training.data.images import glance

    with reading(path) as data:
        with opened(data) as image:
            transparent = False
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                with room(image, len(data)):
                    transparent = image.convert("RGBA").getchannel("A").getextrema()[0] < 250
        size, small = glance(data, GLANCE)
    return PictureFacts(size, transparent, signature(small))


def near_duplicates(root: Path, facts: Mapping[str, PictureFacts], caption_of: Callable[[str], str]) -> dict[str, str]:
    """Return each near-duplicate, as `prepare` would leave it out, and the picture that it repeats."""
    from lorapipe.training.data import duplicates

    names = [name for name, found in facts.items() if found.signature]
    key = _digest(facts, names, caption_of)
    stored = _read_json(_file(root, "copies"))
    if stored.get("key") == key and isinstance(stored.get("copies"), dict):
        return {str(one): str(other) for one, other in stored["copies"].items()}
    compared: dict[tuple[int, int], bool] = {}

    def differ(first: int, second: int) -> bool:
        if caption_of(names[first]) != caption_of(names[second]) or len(compared) >= MOST_COMPARED:
            return True
        compared[first, second] = True
        one, other = (_detail(root / names[place]) for place in (first, second))
        return duplicates.unlike(one, other)

    found = duplicates.near_duplicates(
        [facts[name].signature for name in names], [facts[name].size for name in names], TOLERANCE, differ
    )
    copies = {names[second]: names[first] for second, first in sorted(found.items())}
    with suppress(OSError):
        _write_json({"key": key, "copies": copies}, _file(root, "copies"))
    return copies


def _digest(facts: Mapping[str, PictureFacts], names: Sequence[str], caption_of: Callable[[str], str]) -> str:
    """Return a digest of all that near-duplicates depend on."""
    found = hashlib.sha256(f"{VERSION}".encode())
    for name in names:
        for part in (
            name.encode("utf-8", "replace"),
            facts[name].signature,
            caption_of(name).encode("utf-8", "replace"),
        ):
            found.update(part + b"\0")
    return found.hexdigest()


def _detail(path: Path) -> bytes:
    from lorapipe.training.data.duplicates import GLANCE, detail
    from lorapipe.training.data.image_reader import Unreadable, quiet, reading
    from lorapipe.training.data.images import glance

    try:
        with quiet(), reading(path) as data:
            return detail(glance(data, 2 * GLANCE)[1])
    except Unreadable:
        return b""


# ----------------------------------------------------------------------------------------------------------- the cache


def _state(path: Path) -> Pair | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _file(root: Path, what: str = "pictures") -> Path:
    name = hashlib.sha256(str(root.resolve()).encode("utf-8", "replace")).hexdigest()[:32]
    return picture_facts_folder() / f"{name}-{what}.json"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_json(data: object, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(data), file)


def _load(root: Path) -> dict[str, tuple[Pair, PictureFacts]]:
    """Return what was seen before, by name, with the file's size and time then; empty if there is nothing usable."""
    data = _read_json(_file(root))
    try:
        if data["version"] != VERSION:
            return {}
        return {name: _parsed(*row) for name, row in data["pictures"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _parsed(
    length: int, changed: int, width: int, height: int, transparent: int, signature: str
) -> tuple[Pair, PictureFacts]:
    return (length, changed), PictureFacts((width, height), bool(transparent), b64decode(signature))


def _save(root: Path, rows: Mapping[str, tuple[Pair, PictureFacts]]) -> None:
    pictures = {name: _row(*row) for name, row in rows.items()}
    _write_json({"version": VERSION, "pictures": pictures}, _file(root))


def _row(state: Iterable[int], found: PictureFacts) -> list[object]:
    return [*state, *found.size, int(found.transparent), b64encode(found.signature).decode("ascii")]

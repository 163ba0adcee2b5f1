"""Looking through a folder: which files are pictures, and what each one is.

Every file is read once and in full (for its digest), and decoded coarsely once ever: what was learnt of a file is kept
in the cache under its digest, so that a folder with three new pictures costs three looks.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lorapipe import suffixes
from lorapipe.training.data.ahead import ahead
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.cache import Cache, key_of
from lorapipe.training.data.duplicates import GLANCE, signature
from lorapipe.training.data.manifest import LeftOut
from lorapipe.training.data.pictures import RECIPE, Colour, Unreadable, glance


@dataclass(frozen=True)
class Look:
    """What a readable picture is: the file's SHA-256, the upright size, and the signature that shows duplicates."""

    path: str
    digest: str
    size: Pair
    signature: bytes


def find(root: Path, exclude: Sequence[str] = ()) -> list[PurePosixPath]:
    """Every file below a folder, relative and sorted; nothing hidden (`.git`, `._photo.jpg`), no `__MACOSX`.

    Subfolders named in `exclude` are not entered, however deep they lie; upper and lower case are the same.

    Links to folders are followed, but no folder is entered twice, so a link that leads back up ends there. Links into
    lorapipe's own store (`outputs/dataset`) are not: its contact sheets are no pictures of the user's.
    """
    excluded = {name.casefold() for name in exclude}
    found: list[PurePosixPath] = []
    entered: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        into_store = folder != str(root) and Path(folder).is_symlink() and ".lorapipe" in real.parts
        if real in entered or into_store:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if _wanted(name) and name.casefold() not in excluded)
        below = PurePosixPath(Path(folder).relative_to(root).as_posix())
        found += [below / name for name in files if _wanted(name)]
    return sorted(found)


def _wanted(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def pictures_among(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """The files that call themselves pictures, those of kinds that are not read too."""
    return [file for file in files if file.suffix.lower() in suffixes.READ | suffixes.NOT_READ]


def examine(
    root: Path, pictures: Sequence[PurePosixPath], cache: Cache, background: Colour
) -> Iterator[Look | LeftOut]:
    """A look at each picture, or why it cannot be used, in the given order; threads work ahead."""
    return ahead(lambda path: _examine(root, path, cache, background), pictures)


def _examine(root: Path, path: PurePosixPath, cache: Cache, background: Colour) -> Look | LeftOut:
    name = str(path)
    if path.suffix.lower() in suffixes.NOT_READ:
        return LeftOut(name, "unreadable", f"{path.suffix.lower()} files are not read; save it as png or jpg")
    try:
        name.encode("utf-8")
        data = (root / path).read_bytes()
    except UnicodeEncodeError:
        shown = name.encode("utf-8", errors="replace").decode("utf-8")
        return LeftOut(shown, "unreadable", "its name is not valid text; rename it")
    except OSError as error:
        return LeftOut(name, "unreadable", f"cannot be opened ({error.strerror})")
    digest = hashlib.sha256(data).hexdigest()
    key = key_of("glance", RECIPE, digest, background.plain())
    if (kept := cache.record("glances", key)) is not None:
        return Look(name, digest, (kept["size"][0], kept["size"][1]), b64decode(kept["signature"]))
    try:
        size, small = glance(data, GLANCE, background)
    except Unreadable as reason:  # not kept: another Pillow may read it
        return LeftOut(name, "unreadable", str(reason))
    marks = signature(small)
    cache.keep_record("glances", key, {"size": size, "signature": b64encode(marks).decode("ascii")})
    return Look(name, digest, size, marks)

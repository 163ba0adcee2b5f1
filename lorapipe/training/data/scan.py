"""Scan a folder: find its pictures, and examine each for size, digest and duplicate signature.

Each run reads every file once (for its digest), but decodes each picture only once ever: the results are cached under the
digest, so in a folder with three new pictures three are decoded.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorapipe.picture_files import Contents, LeftOut, ignore_reason, sort_out
from lorapipe.picture_files.caption_names import USUAL
from lorapipe.picture_files.magic import begins_like_a_picture
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.cache import Cache, key_of
from lorapipe.training.data.duplicates import DETAIL, GLANCE, detail, signature
from lorapipe.training.data.image_reader import Unreadable, is_lossless, reading
from lorapipe.training.data.images import RECIPE, Colour, glance
from lorapipe.training.data.prefetch import prefetched


@dataclass(frozen=True)
class ImageInfo:
    """A readable picture: the file's SHA-256, the upright size, and the signature for duplicate detection.

    `lossless` and `length` (bytes) decide which of two copies is better.
    """

    path: str
    digest: str
    size: Pair
    signature: bytes
    lossless: bool = False
    length: int = 0


def look_through(
    root: Path, exclude: Sequence[str] = (), extensions: Sequence[str] = USUAL, apart: Sequence[Path] = ()
) -> Contents:
    """Return the contents of a folder, by kind of file; see `find` and `sort_out`."""
    names, closed = find(root, exclude, apart)
    found = sort_out(names, extensions, lambda name: begins_like_a_picture(f"{root}/{name}"))
    return replace(found, left_out=tuple(sorted([*found.left_out, *closed], key=lambda file: file.path)))


def captions_beside(root: Path, pictures: Sequence[str], extensions: Sequence[str] = USUAL) -> tuple[str, int]:
    """Return a folder of captions beside the folder of images (`set/images`, `set/captions`), and how many of its files are
    named like pictures; an empty name if there is none.
    """
    if root.name.casefold() not in ("images", "image", "imgs", "img", "pictures", "photos"):
        return "", 0
    stems = {(each[each.rfind("/") + 1 :]).rpartition(".")[0] for each in pictures}
    for name in ("captions", "caption", "tags", "labels", "txt"):
        try:
            files = [Path(each) for each in os.listdir(root.parent / name)]  # noqa: PTH208
        except OSError:
            continue
        if count := sum(file.suffix.lower() in extensions and file.stem in stems for file in files):
            return name, count
    return "", 0


def find(root: Path, exclude: Sequence[str] = (), apart: Sequence[Path] = ()) -> tuple[list[str], list[LeftOut]]:
    """Return all files below a folder by relative name, and the folders that cannot be read.

    Folders of systems and other programs (`.git`, `@eaDir`, `$RECYCLE.BIN`) are not entered; each is one name that ends
    with `/`. Subfolders named in `exclude` (at any depth, ignoring case) and the folders in `apart` are skipped.

    Links to folders are followed, but no folder is entered twice, so cycles end. Links into lorapipe's own store
    (`outputs/dataset`) and the store itself are skipped: its contact sheets are not the user's pictures.
    """
    excluded = set(map(str.casefold, exclude))
    names: list[str] = []
    closed: list[LeftOut] = []
    entered = set(map(os.path.realpath, apart))
    waiting = [("", str(root))]
    while waiting:
        prefix, folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in entered or (prefix and _leads_into_store(folder, real)):
            continue
        entered.add(real)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = f"{prefix}{entry.name}"
                    if not _is_folder(entry):
                        names.append(name)
                    elif ignore_reason(entry.name, True):
                        names += [f"{name}/"] if entry.name != ".lorapipe" else []
                    elif entry.name.casefold() not in excluded:
                        waiting.append((f"{name}/", entry.path))
        except OSError as error:
            closed.append(LeftOut(prefix or ".", "unreadable", f"the folder cannot be read ({error.strerror})"))
    return sorted(names), closed


def _leads_into_store(folder: str, real: str) -> bool:
    """Whether a folder is a link into a store of lorapipe."""
    return os.path.islink(folder) and ".lorapipe" in Path(real).parts  # noqa: PTH114


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a cyclic link
        return False


def examine(root: Path, pictures: Sequence[str], cache: Cache, background: Colour) -> Iterator[ImageInfo | LeftOut]:
    """Yield the info of each picture, or why it cannot be used, in the given order; threads work ahead."""
    return prefetched(lambda path: _examine(root, path, cache, background), pictures)


def _examine(root: Path, name: str, cache: Cache, background: Colour) -> ImageInfo | LeftOut:
    try:
        name.encode("utf-8")
        with reading(root / name) as data:
            return _info(name, data, cache, background)
    except UnicodeEncodeError:
        shown = name.encode("utf-8", errors="replace").decode("utf-8")
        return LeftOut(shown, "unreadable", "its name is not valid text; rename it")
    except Unreadable as reason:  # not cached: another version of Pillow may read it
        return LeftOut(name, "unreadable", str(reason))


def _info(name: str, data: bytes, cache: Cache, background: Colour) -> ImageInfo:
    digest, lossless = hashlib.sha256(data).hexdigest(), is_lossless(data)
    key = key_of("glance", RECIPE, digest, background.plain())
    if (kept := cache.record("glances", key)) is not None:
        size = kept["size"][0], kept["size"][1]
        return ImageInfo(name, digest, size, b64decode(kept["signature"]), lossless, len(data))
    size, small = glance(data, GLANCE, background)
    marks = signature(small)
    cache.keep_record("glances", key, {"size": size, "signature": b64encode(marks).decode("ascii")})
    return ImageInfo(name, digest, size, marks, lossless, len(data))


def closer(root: Path, look: ImageInfo, cache: Cache, background: Colour) -> bytes:
    """Return `duplicates.detail` of a picture, from the cache if possible; empty if the file has changed since."""
    key = key_of("detail", DETAIL, RECIPE, look.digest, background.plain())
    if (kept := cache.record("details", key)) is not None:
        return b64decode(kept)
    try:
        with reading(root / look.path) as data:
            marks = detail(glance(data, 2 * GLANCE, background)[1])
            same = hashlib.sha256(data).hexdigest() == look.digest
    except Unreadable:
        return b""
    if same:
        cache.keep_record("details", key, b64encode(marks).decode("ascii"))
    return marks if same else b""

"""Scan the pictures of a folder: examine each for size, digest and duplicate signature.

Each run reads every file once (for its digest), but decodes each picture only once ever: the results are cached under the
digest, so in a folder with three new pictures three are decoded.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorapipe.picture_files import LeftOut
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

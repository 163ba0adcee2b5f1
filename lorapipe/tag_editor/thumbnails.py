"""Small versions of pictures: made once, and kept in the user's cache folder by the file's place, size and time."""

from __future__ import annotations

import hashlib
import io
import os
import time
from contextlib import suppress
from pathlib import Path

from lorapipe.atomic import write_bytes
from lorapipe.errors import InputError
from lorapipe.regular_files import is_inside
from lorapipe.user_folders import thumbnails_folder

VERSION = 1
"""Of the thumbnails; bump when they are made otherwise."""
SMALL, LARGE = 320, 1600
"""The longest side of a thumbnail, and of a picture in view."""
DAYS = 90
"""Age at which thumbnails are deleted; those that are still wanted are made again."""


def thumbnail(root: Path, name: str, side: int = SMALL) -> bytes:
    """Return a picture of a folder as a small JPEG, from the cache if it is there.

    `InputError` if it cannot be read, or is a link that leads out of the folder.
    """
    path = root / name
    if not is_inside(path, root):
        raise InputError("is a link that leads out of the folder; it is not shown.", where=name)
    cached = _place(path, side)
    with suppress(OSError):
        return cached.read_bytes()
    data = _drawn(path, side)
    with suppress(OSError):  # a full disk: it is made again next time
        write_bytes(data, cached, synced=False)
    return data


def delete_old_thumbnails() -> None:
    """Delete the thumbnails of all folders that were made more than `DAYS` days ago."""
    oldest = time.time() - DAYS * 24 * 3600
    for file in thumbnails_folder().glob("??/*.jpg"):
        with suppress(OSError):  # another editor deletes it too, or Windows has it open
            if file.stat().st_mtime < oldest:
                file.unlink()


def _place(path: Path, side: int) -> Path:
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=path.name) from None
    what = f"{VERSION} {side} {state.st_size} {state.st_mtime_ns} ".encode() + os.fsencode(os.path.realpath(path))
    key = hashlib.sha256(what).hexdigest()
    return thumbnails_folder() / key[:2] / f"{key}.jpg"


def _drawn(path: Path, side: int) -> bytes:
    from lorapipe.training.data.image_reader import Unreadable, quiet, reading
    from lorapipe.training.data.images import glance

    try:
        with quiet(), reading(path) as data:
            _, small = glance(data, side)
    except Unreadable as reason:
        raise InputError(f"cannot be shown: {reason}.", where=path.name) from None
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, format="JPEG", quality=82)
    return stream.getvalue()

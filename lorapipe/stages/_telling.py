"""What `prepare` tells the user: how far it is, and what is odd about the pictures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Progress

if TYPE_CHECKING:
    from lorapipe.folder_names import FolderName
    from lorapipe.training.data.manifest import LeftOut, Manifest

T = TypeVar("T")


def followed(items: Iterable[T], total: int, unit: str, context: Context) -> Iterator[T]:
    """The items, with progress told twice a second, and the work stopped where the user wants it."""
    start = told = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        context.check()
        now = time.monotonic()
        if now - told > 0.5 or done == total:
            left = (now - start) / done * (total - done)
            context.emit(Progress(step=done, total=total, unit=unit, seconds_left=left))
            told = now


def warnings(manifest: Manifest, complaints: list[str]) -> Iterator[str]:
    """What the user should know, a line for each kind of thing; the files beside the manifest have the rest."""
    by_kind: dict[str, list[LeftOut]] = {}
    for file in manifest.left_out:
        by_kind.setdefault(file.kind, []).append(file)
    for kind, files in sorted(by_kind.items()):
        yield f"{pictures(len(files))} left out ({kind}): {some([f'{f.path}: {f.reason}' for f in files])}"
    if complaints:
        yield f"{len(complaints)} caption files: {some(complaints)}"
    bare = [picture.path for picture in manifest.pictures if not picture.caption]
    if bare:
        cure = "Write captions, name their folder like 10_penny cat, or set class_word"
        yield f"{pictures(len(bare))} without any caption. {cure}: {some(bare)}"


def unread(name: str, said: FolderName) -> str:
    """What to do where the folder itself is named in kohya's way: only those below it are read so."""
    cure = f"set repeats: {said.repeats} and class_word: {said.word}" if said.word else f"set repeats: {said.repeats}"
    return f"{name!r} would give repeats and captions if it lay below the folder of images: name the one above it, or {cure}"


def those(paths: list[str], what: str) -> str:
    """`3 pictures without a mask: a.png; b.png; c.png`."""
    return f"{pictures(len(paths))} {what}: {some(paths)}"


def pictures(count: int) -> str:
    return f"{count} picture" if count == 1 else f"{count} pictures"


def some(lines: list[str], most: int = 4) -> str:
    more = f"; and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + more


def nothing(left_out: tuple[LeftOut, ...], found: int) -> str:
    """Why no picture is left: `12 pictures found, none usable: 11 unreadable, 1 tiny.`"""
    if not found:
        return "no pictures found."
    return f"{pictures(found)} found, none usable: {_reasons(left_out)}."


def too_few(usable: int, needed: int, left_out: tuple[LeftOut, ...]) -> str:
    """`12 pictures needed, 3 usable; left out are 9 unreadable (a.png: the file breaks off; …).`"""
    rest = f"; left out are {_reasons(left_out)}" if left_out else ""
    return f"{pictures(needed)} needed, {usable} usable{rest}."


def _reasons(left_out: tuple[LeftOut, ...]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(file.kind for file in left_out).items()))
    return f"{kinds} ({some([f'{file.path}: {file.reason}' for file in left_out], 3)})"


def cure(found: int) -> str:
    if found:
        return "Put readable pictures of at least min_size into the folder."
    return "Name a folder with png, jpg, webp, bmp, gif or avif pictures in it or in its subfolders."

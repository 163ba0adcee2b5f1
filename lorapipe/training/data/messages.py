"""Messages about a dataset: left-out pictures, unused files, missing captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lorapipe.pipeline.events import Log

if TYPE_CHECKING:
    from lorapipe.kohya_folders import FolderName
    from lorapipe.picture_files import Contents, LeftOut
    from lorapipe.training.data.manifest import Manifest


def warnings(manifest: Manifest, complaints: list[str]) -> Iterator[str]:
    """Yield warnings about a dataset, one line for each kind; the files beside the manifest list everything."""
    yield from left_out(manifest.left_out)
    if complaints:
        files = "1 caption file" if len(complaints) == 1 else f"{len(complaints)} caption files"
        yield f"{files}: {first_few(complaints)}"
    bare = [picture.path for picture in manifest.pictures if not picture.caption]
    if bare:
        cure = "Write captions, name their folder like 10_penny cat, or set class_word"
        yield f"{pictures(len(bare))} without any caption. {cure}: {first_few(bare)}"


CURES = {
    "duplicate": "duplicate_tolerance sets how similar copies are; 0 leaves out only identical files",
}
"""What a user can do about left-out pictures, by kind."""


def left_out(files: Sequence[LeftOut]) -> Iterator[str]:
    """Yield the left-out pictures, one line for each kind of reason."""
    for kind, those in by_kind(files):
        cure = f" {CURES[kind]}:" if kind in CURES else ""
        reasons = first_few([f"{file.path}: {file.reason}" for file in those], all_in=ALL)
        yield f"{pictures(len(those))} left out ({kind}):{cure} {reasons}"


ALL = "left_out.json has all"
EXPECTED = frozenset(("hidden", "other", "caption of a picture not used"))
"""Kinds of unused files that need no warning, only a line in the log."""
NOT_USED = {
    "passed over": ("left by systems and other programs", ""),
    "mask": ("masks", "To use them, write `masks: {root}`"),
    "conditioning picture": ("conditioning pictures", ""),
    "regularisation": (
        "pictures for regularisation",
        "Give them a prepare of their own, and name that under regularisation of train",
    ),
    "trainer's sample": ("a trainer's own samples, it seems", "If they are meant, name their folder as images"),
    "beside a project's img": (
        "beside the img of what looks like a kohya project",
        "If they are meant, name their folder as images",
    ),
    "made by lorapipe": ("made by lorapipe", ""),
    "not read": ("of a kind that is not read", ""),
    "film": ("film", ""),
    "archive": ("packed", ""),
    "caption without a picture": ("captions without a picture of that name beside them", ""),
    "caption not asked for": ("captions that caption_extensions does not name", ""),
    "captions in another form": ("may hold captions", "Captions are read from cat.txt beside cat.png"),
    "unreadable": ("folders that cannot be entered", ""),
}
"""For each kind: what the files are, and what a user can do about them."""


def not_used(contents: Contents, root: str) -> Iterator[Log]:
    """Yield the folder's unused files, one line for each kind; then captions found by the picture's whole name."""
    for kind, files in by_kind(contents.left_out):
        what, cure = NOT_USED.get(kind, (kind, ""))
        cure = f" {cure.format(root=root)}:" if cure else ""
        shown = [f"{file.path}: {file.reason}" for file in files] if kind in WITH_REASON else [f.path for f in files]
        text = f"{_files(len(files))} not used ({what}):{cure} {first_few(shown, all_in=ALL)}"
        yield Log(text=text, level="info" if kind in EXPECTED else "warning")
    if long := [files[0] for picture, files in contents.captions.items() if files[0].startswith(f"{picture}.")]:
        yield Log(text=f"{_files(len(long))} with the picture's whole name, taken as its caption: {first_few(long)}")


WITH_REASON = frozenset(("passed over", "not read"))


def by_kind(files: Sequence[LeftOut]) -> list[tuple[str, list[LeftOut]]]:
    """Group files by kind, sorted by kind."""
    kinds: dict[str, list[LeftOut]] = {}
    for file in files:
        kinds.setdefault(file.kind, []).append(file)
    return sorted(kinds.items())


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def folder_name_ignored(name: str, said: FolderName) -> str:
    """Say that a kohya-style name of the folder of images itself is ignored: only names of folders below it count."""
    cure = f"set repeats: {said.repeats} and class_word: {said.word}" if said.word else f"set repeats: {said.repeats}"
    return f"{name!r} gives repeats and captions only below the folder of images: name its parent folder, or {cure}"


def pictures_listed(paths: list[str], what: str) -> str:
    """Format a list of pictures: `3 pictures without a mask: a.png; b.png; c.png`."""
    return f"{pictures(len(paths))} {what}: {first_few(paths)}"


def pictures(count: int) -> str:
    return f"{count} picture" if count == 1 else f"{count} pictures"


def first_few(lines: Sequence[str], most: int = 4, all_in: str = "") -> str:
    more = f"; and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + more + (f" ({all_in})" if more and all_in else "")


def no_pictures_message(left_out: Sequence[LeftOut], found: int, beside: Sequence[LeftOut] = ()) -> str:
    """Say why no picture is left: `12 pictures found, none usable: 11 unreadable, 1 tiny.`"""
    if found:
        return f"{pictures(found)} found, none usable{f': {_reasons(left_out)}' if left_out else ''}."
    there = [file for file in beside if file.kind not in EXPECTED]
    return f"no pictures found; there are {_reasons(there)}." if there else "no pictures found."


def too_few_message(usable: int, needed: int, left_out: Sequence[LeftOut]) -> str:
    """Say that too few pictures are usable: `12 pictures needed, 3 usable; left out are 9 unreadable (a.png: …).`"""
    rest = f"; left out are {_reasons(left_out)}" if left_out else ""
    return f"{pictures(needed)} needed, {usable} usable{rest}."


def _reasons(left_out: Sequence[LeftOut]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(file.kind for file in left_out).items()))
    return f"{kinds} ({first_few([f'{file.path}: {file.reason}' for file in left_out], 3)})"


def fix_hint(found: int) -> str:
    if found:
        return "Put readable pictures of at least min_size into the folder."
    return "Name a folder with pictures in it or in its subfolders: png, jpg, webp, avif, heic, tif, bmp, gif …"

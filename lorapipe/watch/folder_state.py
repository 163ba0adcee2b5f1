"""The state of a folder or file in the inbox: a fingerprint of its files' metadata, its pictures, its problems."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from lorapipe import picture_files
from lorapipe.kohya_folders import is_regularisation
from lorapipe.picture_files import Contents, sort_out
from lorapipe.picture_files.contents import NOT_READ
from lorapipe.picture_files.layouts import CONDITION, MASK, OURS, SAMPLES
from lorapipe.picture_files.magic import begins_like_a_picture
from lorapipe.regular_files import is_inside, kind_of, size_in_words

MOST_FILES = 100_000
"""Most files of a folder: with more it is a disk rather than a set of pictures."""
BAD_NAME = "has a name that is not valid text; rename it"
MOST_ASKED = 100
"""Most files whose first bytes are read to see if they are pictures, before a folder becomes a job."""
NO_SUBJECTS = {
    MASK: "masks",
    CONDITION: "conditioning pictures",
    SAMPLES: "a trainer's samples",
    OURS: "what lorapipe made",
}
"""Kinds of pictures that are not training subjects, and their names in messages."""


@dataclass(frozen=True)
class SizeLimits:
    """Most bytes of one file of a folder, of all files together, and of a zip."""

    file: float = 10e9
    folder: float = 500e9
    zip: float = 20e9


USUAL = SizeLimits()


@dataclass(frozen=True)
class FolderState:
    """The state of an entry. Two states have equal `mark`s only if nothing has changed.

    `pictures` counts pictures outside of folders for regularisation, by name until the folder is `opened`.
    `trouble` says why the entry cannot be
    used; it is `passing` if it may go away, because the entry is still being copied.
    """

    mark: str
    pictures: int = 0
    trouble: str = ""
    passing: bool = False


def is_ours(name: str) -> bool:
    """Return whether a name is relevant: not hidden, and not a by-product of systems or other programs."""
    return not picture_files.ignore_reason(name)


def is_picture(name: str) -> bool:
    """Return whether a file's name is that of a picture, including formats that are not read, which `prepare` reports."""
    return picture_files.is_picture(name)


def shown(text: str) -> str:
    """Return a name as valid text, since names may have bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def inspect_path(path: Path, sizes: SizeLimits = USUAL) -> FolderState:
    """Return the state of a folder or a file in the inbox. Opens no file and never raises: errors become its trouble."""
    try:
        if shown(path.name) != path.name:
            return FolderState(_mark([path.name]), 0, BAD_NAME)
        if not is_inside(path, path.parent):
            return FolderState(
                _mark([str(path.lstat().st_mtime_ns)]),
                0,
                "is a link that leads out of the inbox; put the folder itself here",
            )
        return _folder_state(path, sizes) if path.is_dir() else _file_state(path, sizes)
    except OSError as error:
        return FolderState(f"! {error.strerror}", 0, f"cannot be read: {error.strerror}", passing=True)


def opened(root: Path, state: FolderState, most: int = MOST_ASKED) -> FolderState:
    """Return the state of a folder that no longer changes, with its pictures as `prepare` will count them.

    Of files whose names do not tell, the first bytes are read, for at most `most` files. A trainer's samples and masks do
    not count; pictures of formats that are not read do, since `prepare` reports them.
    """
    if state.trouble:
        return state
    names = [name for name, _ in _walk(root) if not any(map(is_regularisation, name.split("/")[:-1]))]
    asked = iter(range(most))
    found = sort_out(
        names, is_picture=lambda name: next(asked, None) is not None and begins_like_a_picture(root / name)
    )
    return replace(state, **counted(found))


class Counted(TypedDict):
    """The result of `counted`."""

    pictures: int
    trouble: str


def counted(found: Contents) -> Counted:
    """Return the `pictures` of a state, and its `trouble` if there are only masks, samples and the like."""
    kinds = Counter(file.kind for file in found.left_out)
    pictures = len(found.pictures) + kinds[NOT_READ]
    others = [what for kind, what in NO_SUBJECTS.items() if kind in kinds]
    is_useless = others and not pictures
    trouble = f"has no picture to train on, only {', '.join(others)}" if is_useless else ""
    return {"pictures": pictures, "trouble": trouble}


def _file_state(path: Path, sizes: SizeLimits) -> FolderState:
    found = path.stat()
    mark = _mark([_line("", found)])
    if kind := kind_of(found.st_mode):
        return FolderState(mark, 0, f"is {kind}; put a folder of pictures here, or a zip of one")
    if is_zip(path) and found.st_size > sizes.zip:
        return FolderState(mark, 0, f"is larger than {size_in_words(sizes.zip)} (watch.largest_zip)")
    return FolderState(mark)


def _folder_state(root: Path, sizes: SizeLimits) -> FolderState:
    lines, pictures, total, troubles, passing = list[str](), 0, 0, list[str](), False
    for relative, found in _walk(root):
        if isinstance(found, str):
            troubles.append(f"{relative} {found}")
            passing = passing or found.startswith("cannot")
            lines.append(f"{relative} {found}")
            continue
        parts = relative.split("/")
        lines.append(_line(relative, found))
        pictures += is_picture(relative) and _counts(parts)
        size = 0 if any(part.startswith(".") for part in parts) else found.st_size
        total += size
        if size > sizes.file:
            troubles.append(f"{relative} is larger than {size_in_words(sizes.file)} (watch.largest_file)")
        if len(lines) > MOST_FILES:
            many = f"has more than {MOST_FILES:,} files; is it a folder of pictures?"
            return FolderState(_mark(lines), pictures, many)
    if total > sizes.folder:
        troubles.append(f"has more than {size_in_words(sizes.folder)} (watch.largest_folder)")
    return FolderState(_mark(lines), pictures, next(iter(troubles), ""), passing)


def is_zip(path: Path) -> bool:
    """Return whether a path is a zip, which has to be unpacked."""
    return path.suffix.lower() == ".zip" and not path.is_dir()


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result | str]]:
    """Yield every file below a folder, also hidden ones (perhaps partial copies): its name, and stat or trouble."""
    waiting = [("", str(root))]
    while waiting:
        prefix, folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            yield prefix or ".", f"cannot be read: {error.strerror}"
            continue
        for entry in entries:
            name = f"{prefix}{entry.name}"
            try:
                if shown(name) != name:
                    yield shown(name), BAD_NAME
                elif _is_link(entry) and not is_inside(entry.path, root):
                    yield name, "is a link that leads out of the folder"
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{name}/", entry.path))
                elif (found := _file(entry)) is not None:
                    yield name, found
            except FileNotFoundError:  # a broken link, or a file that has just been deleted
                continue
            except OSError as error:
                yield name, f"cannot be read: {error.strerror}"


def _file(entry: os.DirEntry[str]) -> os.stat_result | str | None:
    """Return a file's stat, or what is wrong with it; None for a link to a folder inside, which is entered anyway."""
    found = entry.stat()
    if stat.S_ISDIR(found.st_mode):
        return None
    kind = kind_of(found.st_mode)
    return f"is {kind}, not a file" if kind else found


def _counts(parts: list[str]) -> bool:
    """Return whether a picture is one to train on, by its relative path."""
    return all(map(is_ours, parts)) and not any(map(is_regularisation, parts[:-1]))


def _is_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or (os.name == "nt" and entry.is_dir())  # a Windows junction is not reported as a link


def _line(name: str, found: os.stat_result) -> str:
    """Return a file's metadata as text. Times are only compared for equality, since clocks of machines differ."""
    return f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}"


def _mark(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()

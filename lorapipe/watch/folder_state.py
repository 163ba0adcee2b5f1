"""The state of a folder or file in the inbox: a mark that changes with anything in it, its pictures, its problems."""

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
from lorapipe.picture_files import Contents, sort_out
from lorapipe.picture_files.contents import NOT_READ
from lorapipe.picture_files.layouts import CONDITION, MASK, OURS, SAMPLES
from lorapipe.picture_files.magic import begins_like_a_picture
from lorapipe.regular_files import is_inside, kind_of, size_in_words

MOST_FILES = 100_000
"""A folder of more is somebody's disk rather than a set of pictures."""
BAD_NAME = "has a name that is not valid text; rename it"
MOST_ASKED = 100
"""Files without a picture's name whose first bytes are looked at before something is a job; enough to tell that."""
NO_SUBJECTS = {
    MASK: "masks",
    CONDITION: "conditioning pictures",
    SAMPLES: "a trainer's samples",
    OURS: "what lorapipe made",
}
"""Kinds of pictures that nobody wants a LoRA of, and what to call them."""
REGULARISATION = "reg"
"""The subfolder of pictures of the class, as kohya's scripts have it."""


@dataclass(frozen=True)
class SizeLimits:
    """How many bytes one file of a folder, all of them together, and a packed zip may have."""

    file: float = 10e9
    folder: float = 500e9
    zip: float = 20e9


USUAL = SizeLimits()


@dataclass(frozen=True)
class FolderState:
    """`mark` is equal only where nothing has changed; `pictures` are counted by their names, those of `reg` apart, until
    it is `opened`.

    `trouble` says what will not do, in words; it is `passing` where it may mend itself: a copy is still under way.
    """

    mark: str
    pictures: int = 0
    trouble: str = ""
    passing: bool = False


def is_ours(name: str) -> bool:
    """Whether a name is to be looked at: not hidden, and not left behind by systems or other programs."""
    return not picture_files.ignore_reason(name)


def is_reg(folder: str) -> bool:
    """Whether a subfolder by that name holds pictures of the class."""
    return folder.casefold() == REGULARISATION


def is_picture(name: str) -> bool:
    """Whether a file's name is a picture's, also of a kind that is not read, which `prepare` will report."""
    return picture_files.is_picture(name)


def shown(text: str) -> str:
    """A name as valid text: names may hold bytes that are no characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def inspect_path(path: Path, sizes: SizeLimits = USUAL) -> FolderState:
    """The state of a folder or a file in the inbox. Opens nothing and never raises: what cannot be read is its trouble."""
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
    """The state of a folder once nothing changes in it any more: its pictures as `prepare` will sort them.

    Files whose names do not tell are asked for their first bytes, `most` of them; a trainer's samples and masks are none.
    What is a picture of a kind that is not read does, for `prepare` will tell of it.
    """
    if state.trouble:
        return state
    names = [name for name, _ in _walk(root) if not any(map(is_reg, name.split("/")[:-1]))]
    asked = iter(range(most))
    found = sort_out(
        names, is_picture=lambda name: next(asked, None) is not None and begins_like_a_picture(root / name)
    )
    return replace(state, **counted(found))


class Counted(TypedDict):
    """What `counted` finds."""

    pictures: int
    trouble: str


def counted(found: Contents) -> Counted:
    """The `pictures` of a state, and its `trouble` if there are only masks, samples and the like."""
    kinds = Counter(file.kind for file in found.left_out)
    pictures = len(found.pictures) + kinds[NOT_READ]
    others = [what for kind, what in NO_SUBJECTS.items() if kind in kinds]
    told = others and not pictures
    return {"pictures": pictures, "trouble": f"holds no picture to train on, but {', '.join(others)}" if told else ""}


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
            many = f"holds more than {MOST_FILES:,} files; is it a folder of pictures?"
            return FolderState(_mark(lines), pictures, many)
    if total > sizes.folder:
        troubles.append(f"holds more than {size_in_words(sizes.folder)} (watch.largest_folder)")
    return FolderState(_mark(lines), pictures, next(iter(troubles), ""), passing)


def is_zip(path: Path) -> bool:
    """Whether something has to be unpacked."""
    return path.suffix.lower() == ".zip" and not path.is_dir()


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result | str]]:
    """Every file below a folder by its relative name, hidden ones too (a copy under way), and what is wrong with it."""
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
            except FileNotFoundError:  # a link to what is gone, which is no picture; or a file that is, by now
                continue
            except OSError as error:
                yield name, f"cannot be read: {error.strerror}"


def _file(entry: os.DirEntry[str]) -> os.stat_result | str | None:
    """What the system says of a file, or what is wrong with it; None for a link to a folder, which is entered anyway."""
    found = entry.stat()
    if stat.S_ISDIR(found.st_mode):
        return None
    kind = kind_of(found.st_mode)
    return f"is {kind}, not a file" if kind else found


def _counts(parts: list[str]) -> bool:
    """Whether a picture is one to train on, by its relative path."""
    return all(map(is_ours, parts)) and not any(map(is_reg, parts[:-1]))


def _is_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or (
        os.name == "nt" and entry.is_dir()
    )  # a junction of Windows' does not call itself a link


def _line(name: str, found: os.stat_result) -> str:
    """Times are only compared for equality: they may come from another machine's clock."""
    return f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}"


def _mark(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()

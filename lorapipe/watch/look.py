"""One look at something in the inbox: a mark that changes with anything in it, and what can be said of it so far."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lorapipe import picture_files

MOST_FILES = 100_000
"""A folder of more is somebody's disk rather than a set of pictures."""
BAD_NAME = "has a name that is not valid text; rename it"
REGULARISATION = "reg"
"""The subfolder of pictures of the class, as kohya's scripts have it."""


@dataclass(frozen=True)
class Look:
    """`mark` is equal only where nothing has changed; `pictures` are counted by their names, those of `reg` apart.

    `trouble` says what will not do, in words; it is `passing` where it may mend itself: a copy is still under way.
    """

    mark: str
    pictures: int = 0
    trouble: str = ""
    passing: bool = False


def is_ours(name: str) -> bool:
    """Whether something by that name is looked at: nothing hidden, and not what systems and other programs leave behind."""
    return not picture_files.passed_over(name)


def is_picture(name: str) -> bool:
    """Whether a file calls itself a picture, also of a kind that is not read, of which `prepare` will tell."""
    return picture_files.is_picture(name)


def shown(text: str) -> str:
    """A name as text that can be written: one may hold bytes that are no characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def look_at(path: Path) -> Look:
    """Look at a folder or a file in the inbox. Never raises: what cannot be read is its trouble."""
    try:
        if shown(path.name) != path.name:
            return Look(_mark([path.name]), 0, BAD_NAME)
        if _leads_out(path, path.parent):
            return Look(
                _mark([str(path.lstat().st_mtime_ns)]),
                0,
                "is a link that leads out of the inbox; put the folder itself here",
            )
        return _at_folder(path) if path.is_dir() else _at_file(path)
    except OSError as error:
        return Look(f"! {error.strerror}", 0, f"cannot be read: {error.strerror}", passing=True)


def _at_file(path: Path) -> Look:
    return Look(_mark([_line("", path.stat())]))


def _at_folder(root: Path) -> Look:
    lines, pictures, trouble, passing = list[str](), 0, "", False
    for relative, found in _walk(root):
        if isinstance(found, str):
            trouble = trouble or f"{relative} {found}"
            passing = passing or found.startswith("cannot")
            lines.append(f"{relative} {found}")
            continue
        lines.append(_line(relative, found))
        pictures += is_picture(relative) and _counts(relative.split("/"))
        if len(lines) > MOST_FILES:
            return Look(_mark(lines), pictures, f"holds more than {MOST_FILES:,} files; is it a folder of pictures?")
    return Look(_mark(lines), pictures, trouble, passing)


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result | str]]:
    """Every file below a folder by its relative name, hidden ones too (a copy under way), and what is wrong with it."""
    waiting = [("", str(root))]
    while waiting:
        prefix, folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = f"{prefix}{entry.name}"
                    try:
                        if shown(name) != name:
                            yield shown(name), BAD_NAME
                        elif _is_link(entry) and _leads_out(Path(entry.path), root):
                            yield name, "is a link that leads out of the folder"
                        elif entry.is_dir(follow_symlinks=False):
                            waiting.append((f"{name}/", entry.path))
                        else:
                            found = entry.stat()
                            if not stat.S_ISDIR(found.st_mode):  # a link to a folder that is looked at anyway
                                yield name, found if stat.S_ISREG(found.st_mode) else "is no ordinary file"
                    except OSError as error:
                        yield name, f"cannot be read: {error.strerror}"
        except OSError as error:
            yield prefix or ".", f"cannot be read: {error.strerror}"


def _counts(parts: list[str]) -> bool:
    """Whether a picture is one to train on, by its relative path."""
    return all(map(is_ours, parts)) and not any(part.casefold() == REGULARISATION for part in parts[:-1])


def _is_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or (
        os.name == "nt" and entry.is_dir()
    )  # a junction of Windows' does not call itself a link


def _leads_out(path: Path, root: Path) -> bool:
    """Whether a path is, by way of links, somewhere else than below `root`."""
    real = Path(os.path.realpath(path))
    return not real.is_relative_to(os.path.realpath(root))


def _line(name: str, found: os.stat_result) -> str:
    """Times only serve to be compared with themselves: they may come from another machine's clock."""
    return f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}"


def _mark(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def at_zip(path: Path) -> Look:
    """What a zip holds by its own list of contents; one that is not whole yet has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                PurePosixPath(each.filename.replace("\\", "/")).parts
                for each in archive.infolist()
                if not each.is_dir()
            ]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return Look("", 0, f"is not a whole zip file ({error})", passing=True)
    count = sum(all(map(is_ours, parts)) and is_picture(parts[-1]) for parts in names if parts)
    return Look("", count, "" if count else "holds no picture")

"""Paths that users write: parse, check and show them.

Every path in a document, setting or command goes through here, so that an impossible one is a `ValueError` with a reason,
never a system error.
"""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from pathlib import Path
from typing import Protocol

from lorapipe.errors import InputError, near_miss
from lorapipe.regular_files import kind_of

LONGEST_NAME = 255
"""Most bytes of a file name on Linux and macOS, most characters on Windows."""
LONGEST_PATH = 4096
MOST_BESIDE = 2000
"""Most names of a folder that are compared with a missing one."""
CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029]"
NO_LETTER = "[\ud800-\udfff]"
"""Characters that cannot be in a name. `str.isprintable` is false for them and for `CONTROL`, and is the quicker test."""
IN_QUOTES = "in double quotes \\ begins an escape: use single quotes, or /"


class PathPolicy(Protocol):
    """The paths that a document may name: any for the user's own documents, few for those of strangers."""

    def refusal(self, kind: type, text: str, folder: Path) -> str:
        """Return why a knob of type `kind` (`Path`, to write to, or a `Source`) may not have this path; "" if it may.

        Called before the path is looked up, because the answer must not reveal whether it exists.
        """


def path_of(text: str, folder: Path) -> Path:
    """Parse a path; relative ones start at `folder`. `ValueError`, with the reason, if the text cannot be a path."""
    _check_text(text)
    path = _from_home(text) if text.startswith("~") else Path(text)
    path = path if path.is_absolute() else folder / path
    if not text.isprintable() and (found := re.search(CONTROL, text)) and not _is_a_name(path):
        name = {"\t": "a tab", "\n": "a line's end"}.get(found[0], f"U+{ord(found[0]):04X}")
        raise ValueError(f"{short(text)!r} contains {name}: {IN_QUOTES}.")
    return Path(tidy(path)) if ".." in path.parts else path


def from_folder(path: Path, folder: Path) -> str:
    """Return a path as a document in a folder says it: relative where it is below the folder or beside it, else whole."""
    whole = Path(os.path.normpath(path.absolute()))
    try:
        relative = Path(os.path.relpath(whole, folder.absolute()))
    except ValueError:  # another drive
        return whole.as_posix()
    ups = relative.parts.count("..")
    if ups > 1:
        return whole.as_posix()
    return relative.as_posix() if ups or not relative.parts else f"./{relative.as_posix()}"


def _check_text(text: str) -> None:
    """Raise `ValueError` if a text cannot be a path on any system."""
    if not text:
        raise ValueError("a path is missing.")
    if not text.isprintable() and ("\0" in text or (re.search(NO_LETTER, text) and not _can_be_named(text))):
        raise ValueError(f"{short(text)!r} is not a path: it contains a character that no name can have.")
    if len(text) > LONGEST_PATH:
        raise ValueError(f"{short(text)!r} is not a path: it is {len(text)} characters long.")
    if long := next((each for each in text.replace("\\", "/").split("/") if _length(each) > LONGEST_NAME), ""):
        raise ValueError(f"{short(long)!r} cannot be a file's name: it is longer than {LONGEST_NAME} bytes.")


def _from_home(text: str) -> Path:
    """Return the path of a text that begins with `~`."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        what = f"{short(text)!r}: there is no user {path.parts[0][1:]!r} here."
        raise ValueError(f"{what} Write ~/ for your own home folder.") from None


def _is_a_name(path: Path) -> bool:
    """Whether the first part of the path that has control characters exists under that name."""
    odd = (each for each in (*reversed(path.parents), path) if re.search(CONTROL, each.name))
    return os.path.lexists(next(odd, path))


def named_path(text: str, where: str) -> Path:
    """Parse a path from the command line or the environment. `InputError`, at `where`, if it cannot be a path."""
    try:
        return path_of(text, Path.cwd())
    except ValueError as error:
        raise InputError(str(error), where=where) from None


def must_exist(path: Path) -> None:
    """Raise `ValueError` if a path is not a file or folder. If it is missing, the message names a similar neighbour."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{tidy(path)} does not exist. {_meant(path)}".strip()) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{tidy(path)} cannot be read: {trouble(error)}.") from None
    if not stat.S_ISDIR(mode) and (kind := kind_of(mode)):
        raise ValueError(f"{tidy(path)} is {kind}; name a file or a folder.")


def _meant(path: Path) -> str:
    """Return a hint that names the one neighbour with a similar name; others stay private."""
    try:
        with os.scandir(path.parent) as entries:
            beside = [entry.name for entry in islice(entries, MOST_BESIDE)]
    except (OSError, ValueError):
        return f"The folder {tidy(path.parent)} does not exist either." if not os.path.lexists(path.parent) else ""
    cure = near_miss(path.name, beside)
    return cure if cure.startswith("Did") else ""


def tidy(path: Path) -> str:
    """Return a path without `a/..`, if that is the same file."""
    short = os.path.normpath(path)
    try:
        return short if os.path.realpath(short) == os.path.realpath(path) else str(path)
    except (OSError, ValueError):
        return str(path)


def trouble(error: BaseException) -> str:
    """Return an error's message, without the number and path of a system error."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.rstrip(".") or type(error).__name__


def short(text: str) -> str:
    """Return a text shortened to 60 characters."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _length(name: str) -> int:
    return len(name) if os.name == "nt" else len(os.fsencode(name))


def _can_be_named(text: str) -> bool:
    """Whether surrogates in a text are Python's escapes of bytes that are not UTF-8, so that it can be a file name."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True

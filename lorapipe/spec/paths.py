"""Paths that a person has written: parse one from its text, check that it exists, and show it.

Every path of a document, a setting or a command goes through here, so that an impossible one is a `ValueError` with its
reason and never an error of the system.
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
"""Bytes of a file's or folder's name that Linux, macOS and Windows allow (there, so many letters)."""
LONGEST_PATH = 4096
MOST_BESIDE = 2000
"""Names of a folder that are compared with one that is not there."""
CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029]"
NO_LETTER = "[\ud800-\udfff]"
"""Neither is printable to Python, which is quicker to ask."""
IN_QUOTES = "in double quotes \\ begins an escape: use single quotes, or /"


class PathPolicy(Protocol):
    """Which paths a document may name: of what is the user's own, any; of what came from a stranger, few."""

    def refusal(self, kind: type, text: str, folder: Path) -> str:
        """Why a knob of type `kind` (`Path`, to write to, or a `Source`) may not hold this path; empty where it may.

        Asked before anything looks whether it is there, and with what: an answer must not tell.
        """


def path_of(text: str, folder: Path) -> Path:
    """Return the path of a text; relative ones start at `folder`. `ValueError` says why a text cannot be a path."""
    _check_text(text)
    path = _from_home(text) if text.startswith("~") else Path(text)
    path = path if path.is_absolute() else folder / path
    if not text.isprintable() and (found := re.search(CONTROL, text)) and not _is_a_name(path):
        name = {"\t": "a tab", "\n": "a line's end"}.get(found[0], f"U+{ord(found[0]):04X}")
        raise ValueError(f"{short(text)!r} holds {name}: {IN_QUOTES}.")
    return Path(tidy(path)) if ".." in path.parts else path


def _check_text(text: str) -> None:
    """ValueError where a text can be no path, wherever it is looked for."""
    if not text:
        raise ValueError("a path is missing.")
    if not text.isprintable() and ("\0" in text or (re.search(NO_LETTER, text) and not _can_be_named(text))):
        raise ValueError(f"{short(text)!r} is no path: it holds what no name can.")
    if len(text) > LONGEST_PATH:
        raise ValueError(f"{short(text)!r} is no path: it is {len(text)} letters long.")
    if long := next((each for each in text.replace("\\", "/").split("/") if _length(each) > LONGEST_NAME), ""):
        raise ValueError(f"{short(long)!r} is no name of a file or folder: it is longer than {LONGEST_NAME} bytes.")


def _from_home(text: str) -> Path:
    """The path of a text that begins with `~`."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        what = f"{short(text)!r}: nobody called {path.parts[0][1:]!r} has a home here."
        raise ValueError(f"{what} Write ~/ for your own.") from None


def _is_a_name(path: Path) -> bool:
    """Whether there is a file or folder whose name has the odd letters that a path begins to have."""
    odd = (each for each in (*reversed(path.parents), path) if re.search(CONTROL, each.name))
    return os.path.lexists(next(odd, path))


def named_path(text: str, where: str) -> Path:
    """The path of a text from the command line or the environment; `InputError`, with `where` it stands, if it is none."""
    try:
        return path_of(text, Path.cwd())
    except ValueError as error:
        raise InputError(str(error), where=where) from None


def must_exist(path: Path) -> None:
    """ValueError, with its reason, where neither file nor folder is at a path, which is looked at and not opened.

    Where nothing is, with the name beside it that may be meant.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{tidy(path)} does not exist. {_meant(path)}".strip()) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{tidy(path)} cannot be looked at: {trouble(error)}.") from None
    if not stat.S_ISDIR(mode) and (kind := kind_of(mode)):
        raise ValueError(f"{tidy(path)} is {kind}; name a file or a folder.")


def _meant(path: Path) -> str:
    """Name the one neighbour whose name is nearly the same; the others stay private."""
    try:
        with os.scandir(path.parent) as entries:
            beside = [entry.name for entry in islice(entries, MOST_BESIDE)]
    except (OSError, ValueError):
        return f"The folder {tidy(path.parent)} does not exist either." if not os.path.lexists(path.parent) else ""
    cure = near_miss(path.name, beside)
    return cure if cure.startswith("Did") else ""


def tidy(path: Path) -> str:
    """Return a path without `a/..`, where that leads to the same place."""
    short = os.path.normpath(path)
    try:
        return short if os.path.realpath(short) == os.path.realpath(path) else str(path)
    except (OSError, ValueError):
        return str(path)


def trouble(error: BaseException) -> str:
    """Return the system's message about a file, without its number and path."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.rstrip(".") or type(error).__name__


def short(text: str) -> str:
    """Return a text shortened to 60 letters."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _length(name: str) -> int:
    return len(name) if os.name == "nt" else len(os.fsencode(name))


def _can_be_named(text: str) -> bool:
    """Whether letters that are none (a name that is not UTF-8) are those by which Python spells bytes."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True

"""Caption files of a folder: which file has a picture's caption, and writing it without losing the old one."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorapipe.atomic import replacing, write_bytes
from lorapipe.errors import InputError, Problem
from lorapipe.picture_files.caption_names import same_name
from lorapipe.picture_files.layouts import folder_of, stem_of
from lorapipe.regular_files import open_regular, read_regular

BACKUP = ".bak"
"""The suffix of the file with the caption as it was before lorapipe wrote it first: `cat.txt.bak`."""
MOST = 1_000_000


def own_names(pictures: Sequence[str], extension: str = ".txt") -> dict[str, str]:
    """Return a file name of its own for each picture's caption: `cat.txt`, or `cat.png.txt` where two pictures are `cat`.

    Pictures are named relative to their folder, with `/`. Case and Unicode normalisation do not distinguish names, as on
    Windows and macOS.
    """
    stems = [(folder_of(each), same_name(stem_of(each)).casefold()) for each in pictures]
    times = Counter(stems)
    return {
        picture: f"{picture if times[stem] > 1 else _without_suffix(picture)}{extension}"
        for picture, stem in zip(pictures, stems, strict=True)
    }


def _without_suffix(picture: str) -> str:
    folder = folder_of(picture)
    return f"{folder}/{stem_of(picture)}" if folder else stem_of(picture)


@dataclass(frozen=True)
class CaptionChange:
    """A new text of a caption file, by its name relative to the folder; `before` are the bytes it has, None if none.

    It is written in `encoding`, Python's name of it, which must be able to say all of the text.
    """

    file: str
    text: str
    before: bytes | None
    encoding: str = "utf-8"


def files_to_write(
    captions: Mapping[str, str], beside: Mapping[str, Sequence[str]], pictures: Sequence[str]
) -> dict[str, str]:
    """Return caption file → text for the captions of pictures; `beside` has the caption files that pictures have.

    A picture's first caption file is kept; one without gets `cat.txt`, unless its caption is empty.
    `InputError` if two pictures share a file and their captions differ, since the file can have only one.
    """
    names = own_names(pictures)
    found: dict[str, tuple[str, str]] = {}
    problems = list[Problem]()
    for picture, text in captions.items():
        if not text and not beside.get(picture):
            continue
        file = beside[picture][0] if beside.get(picture) else names[picture]
        other, known = found.setdefault(file, (picture, text))
        if known != text:
            what = f"{other} and {picture} share the caption file {file}, and their captions differ."
            problems.append(Problem(what, cure="Rename one of the pictures, or give it a caption file of its own."))
    if problems:
        raise InputError(problems)
    return {file: text for file, (_, text) in found.items()}


def bytes_of(path: Path) -> bytes | None:
    """Return the bytes of a caption file; None if there is no file. Other errors are raised (`OSError`)."""
    try:
        return read_regular(open_regular(path), MOST)
    except FileNotFoundError:
        return None


def changes(root: Path, texts: Mapping[str, str]) -> list[CaptionChange]:
    """Return the files below `root` whose text differs from the wanted one. `OSError` if one cannot be read.

    A file in another encoding counts as different; white space at its ends does not count.
    """
    found = [CaptionChange(file, text, bytes_of(root / file)) for file, text in texts.items()]
    return [each for each in found if each.before is None or each.before.strip() != each.text.strip().encode()]


def write_caption(root: Path, change: CaptionChange) -> bool:
    """Write a caption file, if it still has the bytes that it had; return whether it had.

    The old bytes are kept in `cat.txt.bak`, unless there is such a file from an earlier time. At any moment, also when the
    process is killed or the power fails, the file has the old or the new text. `OSError` if it cannot be written.
    """
    path = root / change.file
    if bytes_of(path) != change.before:
        return False
    backup = path.with_name(path.name + BACKUP)
    if change.before is not None and not os.path.lexists(backup):
        write_bytes(change.before, backup)
    with replacing(path) as part:
        part.write_bytes(f"{change.text}\n".encode(change.encoding))
        if change.before is not None:
            shutil.copymode(path, part)
    return True

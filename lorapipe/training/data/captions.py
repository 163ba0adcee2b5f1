"""What a picture is said to show: its caption file, or the name of its folder.

A caption is data. Nothing in it is obeyed or cut here: tags, weights, `<|startoftext|>` and 4,000 characters are kept
as they are, and the model family spells them.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from unicodedata import normalize

from lorapipe import folder_names
from lorapipe.folder_names import FolderName
from lorapipe.regular_files import open_regular, read_regular

MOST_BYTES = 1_000_000
"""Of a caption file; a long caption has a thousand."""

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


Lines = Literal["joined", "first", "each"]
"""What is made of a caption file's lines: one caption of all, the first alone, or as many captions as there are lines."""


@dataclass(frozen=True)
class Caption:
    """A caption and where it comes from: a caption file's name, `folder` (`10_penny cat`), `class_word` or `none`.

    `complaint` is what the user should be told about the file, empty where all is well.
    """

    text: str
    source: str
    complaint: str = ""


def folder_name(picture: PurePosixPath) -> FolderName | None:
    """What the nearest folder above a picture says that is named in kohya's way; None where none is."""
    return next(filter(None, map(folder_names.read, picture.parent.parts[::-1])), None)


def same_name(stem: str) -> str:
    """Stems that look the same are the same: macOS writes 한 as ᄒ + ᅡ + ᆫ, other systems as one character."""
    return normalize("NFC", stem)


class CaptionFiles:
    """The caption files of a folder tree, found by the picture they lie beside.

    `extensions` in the order of preference, with their dots; upper and lower case are the same. `lines` says what is made
    of several lines.
    """

    def __init__(
        self, root: Path, files: Sequence[PurePosixPath], extensions: Sequence[str], lines: Lines = "joined"
    ) -> None:
        self._root = root
        self._lines = lines
        self._extensions = [extension.lower() for extension in extensions]
        self._files: Mapping[tuple[PurePosixPath, str, str], PurePosixPath] = {
            (file.parent, same_name(file.stem), file.suffix.lower()): file for file in reversed(files)
        }

    def of(self, picture: PurePosixPath, fallback: str) -> Caption:
        """The caption of a picture: of its file, else of its folder's class word, else `fallback`."""
        file = self._beside(picture)
        text, complaint = ("", "") if file is None else read(self._root / file, self._lines)
        if file is not None and text:
            return Caption(text, file.name, complaint)
        if file is not None:
            complaint = complaint or "is empty"
        named = folder_name(picture)
        if named and named.word:
            return Caption(named.word, "folder", complaint)
        return Caption(fallback, "class_word" if fallback else "none", complaint)

    def _beside(self, picture: PurePosixPath) -> PurePosixPath | None:
        keys = ((picture.parent, same_name(picture.stem), extension) for extension in self._extensions)
        return next((self._files[key] for key in keys if key in self._files), None)


def read(path: Path, lines: Lines = "joined") -> tuple[str, str]:
    """A caption file's text, and a complaint about it (empty where all is well)."""
    try:
        data = read_regular(open_regular(path), MOST_BYTES)
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"
    text, complaint = decode(data)
    if lines == "joined":
        return one_line(text), complaint
    found = [one_line(line) for line in text.replace("\0", "").splitlines() if line.strip()]
    return "\n".join(found if lines == "each" else found[:1]), complaint


def decode(data: bytes) -> tuple[str, str]:
    """Text of any encoding that caption tools and Windows editors write, and a complaint where it had to be guessed."""
    for mark, encoding in BOMS:
        if data.startswith(mark):
            text = data.decode(encoding, errors="replace")
            return text, "is damaged UTF-16 or UTF-8" if "\ufffd" in text else ""
    if b"\0" in data:  # UTF-16 without its mark: PowerShell's and some taggers'
        little = data[1::2].count(0) >= data[0::2].count(0)
        return data.decode("utf-16-le" if little else "utf-16-be", errors="replace"), "was read as UTF-16"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        guess = "is not UTF-8 and was read as Western European (cp1252); save it as UTF-8"
        return data.decode("cp1252", errors="replace"), guess


def one_line(text: str) -> str:
    """Lines joined: by a comma, as lists of tags are, or by a space after a line that ends with punctuation."""
    lines = [line for raw in text.replace("\0", "").splitlines() if (line := raw.strip())]
    joined = "".join(line + (" " if line[-1] in ",.;:!?。、，" else ", ") for line in lines)
    return joined.strip().removesuffix(",").strip()

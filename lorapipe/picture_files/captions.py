"""Reads caption files of any editor or tagger, with the standard library alone.

contents = sort_out(names)
texts = CaptionTexts(root, contents.captions)
for picture in contents.pictures:
    texts.of(picture).text
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal
from unicodedata import category

from lorapipe.picture_files.caption_names import USUAL, CaptionNames
from lorapipe.picture_files.unicode_texts import CONTROL, MARKS, WIDE
from lorapipe.regular_files import open_regular, read_regular

Lines = Literal["joined", "first", "each"]
"""How a file's lines are read: all joined to one caption, the first line alone, or each as a caption of its own."""
NO_TEXT = "is no text"
MOST = 1_000_000
"""Largest caption file, in bytes; a text encoder reads a few hundred tokens."""


@dataclass(frozen=True)
class CaptionText:
    """A picture's caption. `file` is the relative name of its caption file, empty where there is none.

    `complaint` is a message for the user about the file; empty where nothing is wrong. `encoding` is Python's name of the
    encoding that it was read in.
    """

    text: str = ""
    file: str = ""
    complaint: str = ""
    encoding: str = "utf-8"


class CaptionTexts:
    """Captions of a folder's pictures: `beside` has each picture's caption files, in order of precedence.

    The first access reads all files, because the others help to detect a file's encoding. `known` has the bytes of
    those that were read already.
    """

    def __init__(
        self,
        root: Path,
        beside: Mapping[str, Sequence[str]],
        lines: Lines = "joined",
        known: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self._root = root
        self._beside = beside
        self._lines = lines
        self._known = known
        self._read: dict[str, CaptionText] = {}

    def of(self, picture: str) -> CaptionText:
        """Return a picture's caption, from the first of its files."""
        files = self._beside.get(picture, ())
        if not files:
            return CaptionText()
        if not self._read:
            first = dict.fromkeys(each[0] for each in self._beside.values() if each)
            self._read = _read_all(self._root, first, self._lines, self._known)
        found = self._read[files[0]]
        for other in files[1:]:
            said = _read_all(self._root, [other], self._lines, {})[other].text
            if said and said != found.text:
                complaint = found.complaint or f"{other} lies beside it and says something else; {files[0]} counts"
                return replace(found, complaint=complaint)
        return found


def caption_of(root: Path, picture: str, extensions: Sequence[str] = USUAL) -> CaptionText:
    """Return the caption of one picture, by its name below a folder; use `CaptionTexts` for all of a folder."""
    folder = os.path.dirname(picture)  # noqa: PTH120
    prefix = f"{folder}/" if folder else ""
    try:
        names = [f"{prefix}{each}" for each in os.listdir(root / folder)]  # noqa: PTH208
    except OSError:
        return CaptionText()
    return CaptionTexts(root, {picture: CaptionNames(names, names, extensions).of(picture)}).of(picture)


def _read_all(root: Path, files: Iterable[str], lines: Lines, read: Mapping[str, bytes]) -> dict[str, CaptionText]:
    """Read all files. The encoding of files without a mark is detected from all of them together."""
    found: dict[str, CaptionText] = {}
    unknown: dict[str, bytes] = {}
    unmarked: dict[str, bytes] = {}
    for file in files:
        try:
            data = read[file] if file in read else _bytes(root / file)
        except OSError as error:
            found[file] = CaptionText(file=file, complaint=f"cannot be read ({error.strerror or error})")
            continue
        if (known := decode_known(data)) is not None:
            found[file] = CaptionText(_arranged(known[0], lines), file, known[1], _marked(data))
            if found[file].encoding == "utf-8":
                unmarked[file] = data
        elif b"\0" in data and decode(data)[1] == NO_TEXT:
            found[file] = CaptionText("", file, NO_TEXT)  # no evidence of the others' encoding
        else:
            unknown[file] = data
    return {**found, **_read_together(unknown, unmarked, lines)}


def _read_together(unknown: Mapping[str, bytes], unmarked: Mapping[str, bytes], lines: Lines) -> dict[str, CaptionText]:
    """Decode files of unknown encoding, which is detected from all of them, with those that are UTF-8 only by chance."""
    if not unknown:
        return {}
    from lorapipe.picture_files.encodings import encoding_of, fits_better  # most captions are UTF-8

    together = encoding_of(list(unknown.values()))
    by_chance = {file: data for file, data in unmarked.items() if fits_better(data, together)}
    found = dict[str, CaptionText]()
    for file, data in {**unknown, **by_chance}.items():  # a short word may be UTF-8 by chance
        text, complaint = decode_as(data, together)
        found[file] = CaptionText(_arranged(text, lines), file, complaint, _decodable(data, together))
    return found


def _marked(data: bytes) -> str:
    """Return the encoding that a byte order mark names, or UTF-8."""
    return next((encoding for mark, encoding in MARKS if data.startswith(mark)), "utf-8")


def _bytes(path: Path) -> bytes:
    """Read a caption file; `OSError` where it is no regular file, or too large for a caption."""
    return read_regular(open_regular(path), MOST)


def decode_known(data: bytes) -> tuple[str, str] | None:
    """Decode text with a byte order mark, or UTF-8; return it with a complaint about damage. None for other encodings."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            text = data.decode(encoding, errors="replace")
            return text, "is damaged UTF-16 or UTF-8" if "\ufffd" in text else ""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _damaged_utf8(data)
    if data.isascii() and CONTROL.search(text) and "\0" not in text and not _is_junk(text):
        return CONTROL.sub("", text), ""
    return None if CONTROL.search(text) or not _are_letters(text) else (text, "")


def _damaged_utf8(data: bytes) -> tuple[str, str] | None:
    """Decode UTF-8 with few damaged characters; None where there are too many for it to be UTF-8."""
    if b"\0" in data:
        return None
    text = data.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd")
    foreign = sum(not letter.isascii() for letter in text) - damaged
    return (text, "is UTF-8 with a few damaged characters; save it anew") if foreign > 4 * damaged else None


def _is_junk(text: str) -> bool:
    """Return whether a text has too many control characters or non-characters; DOS ends files with one."""
    times = Counter(text)
    odd = sum(times[letter] for letter in times if letter == "\ufffd" or category(letter) in ("Cc", "Cn", "Co", "Cs"))
    return odd - sum(map(text.count, "\t\n\r\f\v")) > 1 + len(text) // 20


def _are_letters(text: str) -> bool:
    """Return whether all characters are assigned in Unicode: bytes that are UTF-8 by chance may decode to none."""
    return text.isascii() or all(category(letter) != "Cn" for letter in set(text) if letter < "\u2000")


def decode_as(data: bytes, encoding: str) -> tuple[str, str]:
    """Decode text in a detected encoding, or another where that fails; return it with a message about the guess."""
    from lorapipe.picture_files.encodings import language_of

    encoding = _decodable(data, encoding)
    text = data.decode(encoding, errors="replace")
    if _is_junk(text):
        return "", NO_TEXT
    if encoding in WIDE:
        return text, "was read as UTF-16 without its mark; save it as UTF-8 if that is wrong"
    return text, f"is not UTF-8 and was read as {language_of(encoding)}; save it as UTF-8"


def _decodable(data: bytes, encoding: str) -> str:
    """Return the encoding if the bytes can be decoded in it, else the most probable one of these bytes alone."""
    from lorapipe.picture_files.encodings import encoding_of

    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return encoding_of([data])
    return encoding


def decode(data: bytes) -> tuple[str, str]:
    """Decode text in any encoding that caption tools and editors write; return it with a complaint if it was a guess."""
    if (known := decode_known(data)) is not None:
        return known
    from lorapipe.picture_files.encodings import encoding_of

    return decode_as(data, encoding_of([data]))


def _arranged(text: str, lines: Lines) -> str:
    if lines == "joined":
        return one_line(text)
    found = [one_line(line) for line in text.replace("\0", "").splitlines() if line.strip()]
    return "\n".join(found if lines == "each" else found[:1])


def one_line(text: str) -> str:
    """Join lines by a comma, like lists of tags, or by a space after a line that ends with punctuation."""
    lines = [line for raw in text.replace("\0", "").splitlines() if (line := raw.strip())]
    joined = "".join(line + (" " if line[-1] in ",.;:!?。、，" else ", ") for line in lines)
    return joined.strip().removesuffix(",").strip()

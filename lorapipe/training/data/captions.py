"""What a picture is said to show: its caption file, or the name of its folder.

A caption is data. Nothing in it is obeyed or cut here: tags, weights, `<|startoftext|>` and 4,000 characters are kept
as they are, and the model family spells them. The files are found and read by `lorapipe.picture_files`, which the inbox uses
too: `caption_of`, `CaptionTexts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lorapipe import kohya_folders
from lorapipe.kohya_folders import FolderName
from lorapipe.picture_files.captions import CaptionTexts, Lines


@dataclass(frozen=True)
class Caption:
    """A caption and where it comes from: a caption file's name, `folder` (`10_penny cat`), `class_word` or `none`.

    `complaint` is what the user should be told about the file, its name before it; empty where all is well.
    """

    text: str
    source: str
    complaint: str = ""

    @property
    def from_file(self) -> bool:
        """Whether somebody wrote it for this picture."""
        return self.source not in ("folder", "class_word", "none")


def folder_name(picture: PurePosixPath) -> FolderName | None:
    """What the nearest folder above a picture says that is named in kohya's way; None where none is."""
    return next(filter(None, map(kohya_folders.parse, picture.parent.parts[::-1])), None)


class CaptionFiles:
    """The captions of a folder's pictures; `beside` has the caption files of each, the one that counts first."""

    def __init__(self, root: Path, beside: Mapping[str, Sequence[str]], lines: Lines = "joined") -> None:
        self._texts = CaptionTexts(root, beside, lines)

    def of(self, picture: str, fallback: str) -> Caption:
        """The caption of a picture: of its file, else of its folder's class word, else `fallback`."""
        found = self._texts.of(picture)
        complaint = f"{found.file}: {found.complaint}" if found.complaint else ""
        if found.text:
            return Caption(found.text, PurePosixPath(found.file).name, complaint)
        if found.file:
            complaint = complaint or f"{found.file}: is empty"
        named = folder_name(PurePosixPath(picture))
        if named and named.word:
            return Caption(named.word, "folder", complaint)
        return Caption(fallback, "class_word" if fallback else "none", complaint)

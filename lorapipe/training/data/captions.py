"""Captions of pictures: from caption files, or from the names of their folders.

A caption is data: tags, weights, `<|startoftext|>` and 4,000 characters are kept as they are; the model family tokenizes
them. `lorapipe.picture_files` finds and reads the files, also for the inbox (`caption_of`, `CaptionTexts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lorapipe import kohya_folders
from lorapipe.captioning.edits import Edit, EditReport, apply_edits
from lorapipe.kohya_folders import FolderName
from lorapipe.picture_files.captions import CaptionTexts, Lines


@dataclass(frozen=True)
class Caption:
    """A caption and its source: a caption file's name, `folder` (`10_penny cat`), `class_word`, `edits` or `none`.

    `complaint` is a message for the user about the file, which begins with its name; empty if there is none.
    """

    text: str
    source: str
    complaint: str = ""

    @property
    def from_file(self) -> bool:
        """Whether it comes from a caption file of this picture."""
        return self.source not in ("folder", "class_word", "edits", "none")


def folder_name(picture: PurePosixPath) -> FolderName | None:
    """Return the repeats and class word of the nearest kohya-style folder above a picture; None if there is none."""
    return next(filter(None, map(kohya_folders.parse, picture.parent.parts[::-1])), None)


class CaptionFiles:
    """The captions of a folder's pictures; `beside` lists the caption files of each, in order of precedence.

    `root` is the folder of the caption files, usually that of the pictures.
    """

    def __init__(
        self, root: Path, beside: Mapping[str, Sequence[str]], lines: Lines = "joined", edits: Sequence[Edit] = ()
    ) -> None:
        self._texts = CaptionTexts(root, beside, lines)
        self._edits = edits

    def of_all(self, pictures: Iterable[str], fallback: str) -> tuple[dict[str, Caption], list[EditReport]]:
        """Return the captions of pictures after the edits, and what each edit did. `InputError` if one cannot be applied."""
        found = {picture: self.of(picture, fallback) for picture in pictures}
        texts, reports = apply_edits({picture: each.text for picture, each in found.items()}, self._edits)
        return {picture: _edited(each, texts[picture]) for picture, each in found.items()}, reports

    def of(self, picture: str, fallback: str) -> Caption:
        """Return the caption of a picture: from its file, else its folder's class word, else `fallback`."""
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


def _edited(caption: Caption, text: str) -> Caption:
    source = "edits" if caption.source == "none" and text else caption.source
    return caption if text == caption.text else replace(caption, text=text, source=source)

"""The folder that is edited: its pictures by number, and its caption files with their texts and versions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorapipe.captioning.caption_files import bytes_of, own_names
from lorapipe.errors import InputError
from lorapipe.picture_files import Contents
from lorapipe.picture_files.captions import CaptionTexts
from lorapipe.regular_files import is_inside

MISSING = ""
"""The version of a caption file that does not exist yet."""


@dataclass(frozen=True)
class EditedCaption:
    """A caption file: its text, one caption a line; its version; its encoding; and a message about it."""

    text: str
    version: str
    encoding: str = "utf-8"
    complaint: str = ""


class EditedFolder:
    """The pictures of a folder and the caption file of each. Two pictures may share a file."""

    def __init__(self, root: Path, contents: Contents) -> None:
        self.root = root
        self.contents = contents
        self.pictures = contents.pictures
        new = own_names(self.pictures)
        self.file_of = {
            name: beside[0] if (beside := contents.captions.get(name)) else new[name] for name in self.pictures
        }
        """Picture → its caption file, which may not exist yet."""
        self._pictures_of: dict[str, str] = {}
        for name, file in self.file_of.items():
            self._pictures_of.setdefault(file, name)

    @property
    def mark(self) -> str:
        """A mark of the folder, so that a page of another folder changes nothing here."""
        return hashlib.sha256(os.fsencode(os.path.realpath(self.root))).hexdigest()[:16]

    @property
    def is_writable(self) -> bool:
        """Whether files can be written, as far as permissions tell."""
        return os.access(self.root, os.W_OK)

    def captions(self) -> dict[str, EditedCaption]:
        """Read all caption files."""
        return self.read(self._pictures_of)

    def read(self, files: Collection[str]) -> dict[str, EditedCaption]:
        """Read caption files. One that cannot be read has an empty text and a complaint."""
        beside: Mapping[str, list[str]] = {
            self._pictures_of[file]: [*self.contents.captions.get(self._pictures_of[file], [file])] for file in files
        }
        known, versions = dict[str, bytes](), dict[str, str]()
        for file in files:
            try:
                data = bytes_of(self.root / file)
            except OSError as error:  # what cannot be read is not written either
                versions[file] = f"unreadable: {error.strerror}"
                continue
            versions[file] = version_of(data)
            if data is not None:
                known[file] = data
        beside = {name: these for name, these in beside.items() if versions[these[0]] != MISSING}
        texts = CaptionTexts(self.root, beside, "each", known)
        found: dict[str, EditedCaption] = {}
        for file, version in versions.items():
            text = texts.of(self._pictures_of[file])
            found[file] = EditedCaption(text.text, version, text.encoding, text.complaint)
        return found

    def path_of(self, file: str) -> Path:
        """Return the path of a caption file. `InputError` if it is none of the folder's, or a link that leads out of it."""
        if file not in self._pictures_of:
            raise InputError("this is no caption file of the folder.", where=file)
        path = self.root / file
        if not is_inside(path, self.root):
            raise InputError("is a link that leads out of the folder; it is not written.", where=file)
        return path


def version_of(data: bytes | None) -> str:
    """Return the version of a caption file with these bytes; None is no file."""
    return MISSING if data is None else hashlib.blake2b(data, digest_size=12).hexdigest()

"""Saves changed captions: all or none is begun, each file is old or new at any moment, and others' changes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lorapipe.captioning.caption_files import CaptionChange, bytes_of, write_caption
from lorapipe.errors import InputError, problem_of
from lorapipe.picture_files.captions import MOST
from lorapipe.tag_editor.edited_folder import EditedCaption, EditedFolder, version_of

CHANGED_MEANWHILE = "changed while it was being saved; it was not written"


@dataclass(frozen=True)
class WantedCaption:
    """A new text of a caption file, and the version that the page has seen."""

    text: str
    version: str


@dataclass
class SaveResult:
    """What became of the files: `saved` with their new versions, `failed` with the reasons, `conflicts` as they are now.

    Where there are conflicts, nothing was written.
    """

    saved: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, EditedCaption] = field(default_factory=dict)


def save(
    folder: EditedFolder, wanted: Mapping[str, WantedCaption], *, keep_encoding: bool, overwrite: bool
) -> SaveResult:
    """Write caption files, unless one has another version than the page has seen; with `overwrite`, then, too.

    The old bytes are kept in `NAME.bak`, once. A file in another encoding becomes UTF-8, or with `keep_encoding` stays as it
    is, if that can say the new text. Raises `InputError` if a file is none of the folder's.
    """
    paths = {file: folder.path_of(file) for file in wanted}
    result = SaveResult()
    if not overwrite:
        result.conflicts = _conflicts(folder, wanted)
        if result.conflicts:
            return result
    encodings = {file: each.encoding for file, each in folder.read(wanted).items()} if keep_encoding else {}
    for file, each in wanted.items():
        try:
            text = _plain(each.text)
            change = CaptionChange(file, text, bytes_of(paths[file]), _encoding(text, encodings.get(file, "utf-8")))
            if (not overwrite and version_of(change.before) != each.version) or not write_caption(folder.root, change):
                result.failed[file] = CHANGED_MEANWHILE
            else:
                result.saved[file] = version_of(bytes_of(paths[file]))
        except OSError as error:
            result.failed[file] = problem_of(error).sentence
    return result


def _conflicts(folder: EditedFolder, wanted: Mapping[str, WantedCaption]) -> dict[str, EditedCaption]:
    """Return the files that are not as the page has seen them."""
    now = folder.read(wanted)
    return {file: now[file] for file, each in wanted.items() if now[file].version != each.version}


def _encoding(text: str, encoding: str) -> str:
    """Return the encoding if it can say a text, else UTF-8."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "utf-8"
    return encoding


def _plain(text: str) -> str:
    """Return a text as it can be written: without zero bytes, lone surrogates and line ends of other systems."""
    if len(text) > MOST // 4:
        raise InputError(f"a caption has at most {MOST // 4} characters.")
    text = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")

"""Unpacks an untrusted zip: nothing outside its folder, no links, and bounded in size."""

from __future__ import annotations

import errno
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from lorapipe.errors import InputError
from lorapipe.fsync import sync_folder, sync_tree
from lorapipe.pipeline.ledger import remove
from lorapipe.regular_files import kind_of
from lorapipe.watch.archive import Archive, Entry, ZipError, open_archive
from lorapipe.watch.folder_names import is_kohyas
from lorapipe.watch.folder_state import REGULARISATION, is_ours, shown

GIGABYTE = 1_000_000_000
MOST_RATIO = 200
"""Pictures hardly get smaller in a zip; what grows more than this is a bomb, from `SMALL` on."""
SMALL = 100_000_000
CHUNK = 1 << 20
MOST_NAME = 255
MOST_DEPTH = 64


@dataclass(frozen=True)
class Limits:
    """Limits on what a zip unpacks to: bytes, files, and the bytes that must stay free on the disk."""

    size: float
    files: int
    room: float


def unpack(path: Path, target: Path, limits: Limits, tell: Callable[[str], None] = lambda text: None) -> Path:
    """Unpack a zip as the folder `target`, whole or not at all, once; the folder of it that holds the pictures.

    `tell` hears what its user should know. `InputError` with what is wrong with the zip, `OSError` where the disk is.
    """
    if not target.is_dir():
        part = target.with_name(f"{target.name}.part")
        remove(part)
        try:
            part.mkdir(parents=True)
            _extract(path, part, limits, tell)
            sync_tree(part)  # a folder with its name is taken for whole from now on, also after a power cut
            part.rename(target)
            sync_folder(target.parent)
        finally:
            remove(part)
    return _innermost(target)


def _extract(path: Path, folder: Path, limits: Limits, tell: Callable[[str], None]) -> None:
    try:
        with open_archive(path) as archive:
            if archive.names.words:
                tell(f"{path.name}: {archive.names.words}")
            wanted = list(_wanted(path, archive, limits))
            total = sum(each.info.file_size for each in wanted)
            free = shutil.disk_usage(folder).free
            if free < total + limits.room:
                what = (
                    f"needs {total / GIGABYTE:.1f} GB, and {free / GIGABYTE:.1f} GB are free on the disk of {folder}."
                )
                raise InputError(what, where=path.name, cure="Make room, and try again.")
            left = total
            for each in wanted:
                left -= _extract_one(path, archive, each, folder.joinpath(*each.parts), left)
    except ZipError as trouble:
        raise InputError(trouble.what, where=path.name, cure=trouble.cure) from None


def _wanted(path: Path, archive: Archive, limits: Limits) -> Iterator[Entry]:
    """The files to unpack, all of them checked before the first is written."""
    count, total, places = 0, 0, set[tuple[str, ...]]()
    for each in archive.entries:
        _require_inside(path, each)
        if not all(map(is_ours, each.parts)):
            continue
        if unfit := _unfit(each.parts):
            raise _refusal(path, f"holds {shown(each.name)[:100]!r}, {unfit}.", "Rename it, and pack it anew.")
        if each.parts in places:
            raise _refusal(path, f"holds {shown(each.name)!r} twice.")
        places.add(each.parts)
        archive.require_readable(each)
        count, total = count + 1, total + each.info.file_size
        yield each
        if count > limits.files:
            raise _refusal(path, f"holds more than {limits.files} files.", "Raise watch.most_files, if that is meant.")
        if total > limits.size:
            gigabytes = f"{limits.size / GIGABYTE:g} GB"
            raise _refusal(path, f"unpacks to more than {gigabytes}.", "Raise watch.largest_zip, if that is meant.")
    packed = path.stat().st_size
    if total > SMALL and total > MOST_RATIO * packed:
        raise _refusal(path, f"of {packed / 1e6:.1f} MB unpacks to {total / 1e6:.0f} MB: no pictures do that.")


def _require_inside(path: Path, entry: Entry) -> None:
    """Raises `InputError` if an entry would be written outside of its folder, or is a link or a device."""
    name, parts = entry.name, entry.parts
    if name.startswith("/") or PureWindowsPath(name).drive or ".." in parts or not parts or "\0" in name:
        raise _refusal(path, f"holds {shown(name)!r}, which would be written outside of its folder.")
    mode = entry.info.external_attr >> 16
    if stat.S_IFMT(mode) and (kind := kind_of(mode)):
        raise _refusal(path, f"holds {shown(name)!r}, which is {kind}.")


def _refusal(path: Path, what: str, cure: str = "Pack the pictures anew.") -> InputError:
    return InputError(what, where=path.name, cure=cure)


def _unfit(parts: tuple[str, ...], system: str = sys.platform) -> str:
    """Why a name cannot be a file's on this system; empty if it can."""
    if any(len(part.encode("utf-8", "replace")) > MOST_NAME for part in parts) or len(parts) > MOST_DEPTH:
        return "whose name is too long"
    if system != "win32":
        return ""
    if any(PureWindowsPath(part).is_reserved() or part != part.rstrip(". ") for part in parts):
        return "which Windows keeps for itself"
    return "which Windows has no names for" if any(set(part) & set('<>:"|?*') for part in parts) else ""


def _extract_one(path: Path, archive: Archive, each: Entry, target: Path, left: int) -> int:
    """Write one file and return its size; the total may not exceed what the list of contents says."""
    size, chunks = 0, archive.chunks(each, CHUNK)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > left:
                    raise InputError("unpacks to more than it says.", where=path.name, cure="Pack the pictures anew.")
                file.write(chunk)
    except (FileExistsError, NotADirectoryError):
        what = f"holds {shown(each.name)!r} and another file whose name is the same on this disk."
        raise InputError(what, where=path.name, cure="Rename one of them.") from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise
        what = f"holds {shown(each.name)[:100]!r}, a name that this disk has no place for ({error.strerror})."
        raise InputError(what, where=path.name, cure="Rename it, and pack it anew.") from None
    return size


def _innermost(folder: Path) -> Path:
    """The innermost folder that has nothing beside it: zips are often made of a folder."""
    while True:
        inner = list(folder.iterdir())
        if (
            len(inner) != 1
            or not inner[0].is_dir()
            or is_kohyas(inner[0].name)
            or inner[0].name.casefold() == REGULARISATION
        ):
            return folder
        folder = inner[0]

"""Unpack an untrusted zip: nothing outside its folder, no links, limited size."""

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
from lorapipe.kohya_folders import is_regularisation
from lorapipe.pipeline.ledger import remove
from lorapipe.regular_files import kind_of
from lorapipe.watch.archive import Archive, Entry, ZipError, open_archive
from lorapipe.watch.folder_names import is_kohyas
from lorapipe.watch.folder_state import is_ours, shown

GIGABYTE = 1_000_000_000
MOST_RATIO = 200
"""A zip of more than `SMALL` bytes unpacked that grows by more than this factor is a zip bomb: pictures hardly compress."""
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
    """Unpack a zip to the folder `target`, atomically and once, and return the folder in it with the pictures.

    `tell` is called with messages for the user. `InputError` if something is wrong with the zip, `OSError` with the disk.
    """
    if not target.is_dir():
        part = target.with_name(f"{target.name}.part")
        remove(part)
        try:
            part.mkdir(parents=True)
            _extract(path, part, limits, tell)
            sync_tree(part)  # from now on a folder of this name counts as complete, also after a power cut
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
                    f"needs {total / GIGABYTE:.1f} GB, but {free / GIGABYTE:.1f} GB are free on the disk of {folder}."
                )
                raise InputError(what, where=path.name, cure="Free disk space, and try again.")
            left = total
            for each in wanted:
                left -= _extract_one(path, archive, each, folder.joinpath(*each.parts), left)
    except ZipError as trouble:
        raise InputError(trouble.what, where=path.name, cure=trouble.cure) from None


def _wanted(path: Path, archive: Archive, limits: Limits) -> Iterator[Entry]:
    """Yield the files to unpack; all are checked before the first is written."""
    count, total, places = 0, 0, set[tuple[str, ...]]()
    for each in archive.entries:
        _require_inside(path, each)
        if not all(map(is_ours, each.parts)):
            continue
        if unfit := _unfit(each.parts):
            raise _refusal(path, f"has {shown(each.name)[:100]!r}, {unfit}.", "Rename it, and pack it again.")
        if each.parts in places:
            raise _refusal(path, f"has {shown(each.name)!r} twice.")
        places.add(each.parts)
        archive.require_readable(each)
        count, total = count + 1, total + each.info.file_size
        yield each
        if count > limits.files:
            raise _refusal(path, f"has more than {limits.files} files.", "Raise watch.most_files, if that is intended.")
        if total > limits.size:
            gigabytes = f"{limits.size / GIGABYTE:g} GB"
            raise _refusal(path, f"unpacks to more than {gigabytes}.", "Raise watch.largest_zip, if that is intended.")
    packed = path.stat().st_size
    if total > SMALL and total > MOST_RATIO * packed:
        raise _refusal(path, f"of {packed / 1e6:.1f} MB unpacks to {total / 1e6:.0f} MB: no pictures do that.")


def _require_inside(path: Path, entry: Entry) -> None:
    """Raise `InputError` if an entry would be written outside of its folder, or is a link or a device."""
    name, parts = entry.name, entry.parts
    if name.startswith("/") or PureWindowsPath(name).drive or ".." in parts or not parts or "\0" in name:
        raise _refusal(path, f"has {shown(name)!r}, which would be written outside of its folder.")
    mode = entry.info.external_attr >> 16
    if stat.S_IFMT(mode) and (kind := kind_of(mode)):
        raise _refusal(path, f"has {shown(name)!r}, which is {kind}.")


def _refusal(path: Path, what: str, cure: str = "Pack the pictures again.") -> InputError:
    return InputError(what, where=path.name, cure=cure)


def _unfit(parts: tuple[str, ...], system: str = sys.platform) -> str:
    """Return why a name is not valid on this system; empty if it is."""
    if any(len(part.encode("utf-8", "replace")) > MOST_NAME for part in parts) or len(parts) > MOST_DEPTH:
        return "whose name is too long"
    if system != "win32":
        return ""
    if any(PureWindowsPath(part).is_reserved() or part != part.rstrip(". ") for part in parts):
        return "a reserved name in Windows"
    has_forbidden = any(set(part) & set('<>:"|?*') for part in parts)
    return "which has characters that Windows does not allow" if has_forbidden else ""


def _extract_one(path: Path, archive: Archive, each: Entry, target: Path, left: int) -> int:
    """Write one file and return its size; the total may not exceed that in the central directory."""
    size, chunks = 0, archive.chunks(each, CHUNK)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > left:
                    raise InputError("unpacks to more than it says.", where=path.name, cure="Pack the pictures again.")
                file.write(chunk)
    except (FileExistsError, NotADirectoryError):
        what = f"has {shown(each.name)!r} and another file with the same name on this disk."
        raise InputError(what, where=path.name, cure="Rename one of them.") from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise
        what = f"has {shown(each.name)[:100]!r}, a name that this disk does not allow ({error.strerror})."
        raise InputError(what, where=path.name, cure="Rename it, and pack it again.") from None
    return size


def _innermost(folder: Path) -> Path:
    """Return the innermost folder that is alone in its parent, since zips are often made of a folder."""
    while True:
        inner = list(folder.iterdir())
        if len(inner) != 1 or not inner[0].is_dir() or is_kohyas(inner[0].name) or is_regularisation(inner[0].name):
            return folder
        folder = inner[0]

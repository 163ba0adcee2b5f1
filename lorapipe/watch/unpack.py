"""Unpacking a zip that came from anywhere: nothing leaves its folder, nothing is a link, and there is an end to it."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from lorapipe.errors import InputError
from lorapipe.fsync import sync_folder, sync_tree
from lorapipe.pipeline.ledger import remove
from lorapipe.watch.look import REGULARISATION, is_ours
from lorapipe.watch.names import is_kohyas

GIGABYTE = 1_000_000_000
MOST_RATIO = 200
"""Pictures hardly get smaller in a zip; what grows more than this is a bomb, from `SMALL` on."""
SMALL = 100_000_000
CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What a zip may come to: bytes, files, and bytes that must be left on the disk afterwards."""

    size: float
    files: int
    room: float


def unpack(path: Path, target: Path, limits: Limits) -> Path:
    """Unpack a zip as the folder `target`, whole or not at all, once; the folder of it that holds the pictures.

    `InputError` with what is wrong with the zip, `OSError` where the disk is.
    """
    if not target.is_dir():
        part = target.with_name(f"{target.name}.part")
        remove(part)
        try:
            part.mkdir(parents=True)
            _extract(path, part, limits)
            sync_tree(part)  # a folder with its name is taken for whole from now on, also after a power cut
            part.rename(target)
            sync_folder(target.parent)
        finally:
            remove(part)
    return _innermost(target)


def _extract(path: Path, folder: Path, limits: Limits) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = list(_wanted(path, archive, limits))
            total = sum(each.file_size for each, _ in wanted)
            free = shutil.disk_usage(folder).free
            if free < total + limits.room:
                what = (
                    f"needs {total / GIGABYTE:.1f} GB, and {free / GIGABYTE:.1f} GB are free on the disk of {folder}."
                )
                raise InputError(what, where=path.name, cure="Make room, and try again.")
            left = total
            for each, parts in wanted:
                left -= _extract_one(path, archive, each, folder.joinpath(*parts), left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        cure = "Copy it again, or unpack it yourself and put the folder here."
        raise InputError(f"is not a whole zip file ({error}).", where=path.name, cure=cure) from None


def _wanted(path: Path, archive: zipfile.ZipFile, limits: Limits) -> Iterator[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """The files to unpack and where to, all of them checked before the first is written."""

    def refuse(what: str, cure: str = "Pack the pictures anew.") -> InputError:
        return InputError(what, where=path.name, cure=cure)

    count, total, places = 0, 0, set[tuple[str, ...]]()
    for each in archive.infolist():
        if each.is_dir():
            continue
        name = each.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or PureWindowsPath(name).drive or ".." in parts or not parts or "\0" in name:
            raise refuse(f"holds {each.filename!r}, which would be written outside of its folder.")
        if stat.S_ISLNK(each.external_attr >> 16):
            raise refuse(f"holds {name!r}, which is a link.")
        if each.flag_bits & 1:
            raise refuse("is encrypted.", "Pack it without a password.")
        if not all(map(is_ours, parts)):
            continue
        if parts in places:
            raise refuse(f"holds {name!r} twice.")
        places.add(parts)
        count, total = count + 1, total + each.file_size
        yield each, parts
        if count > limits.files:
            raise refuse(f"holds more than {limits.files} files.", "Raise watch.most_files, if that is meant.")
        if total > limits.size:
            gigabytes = f"{limits.size / GIGABYTE:g} GB"
            raise refuse(f"unpacks to more than {gigabytes}.", "Raise watch.largest_zip, if that is meant.")
    packed = path.stat().st_size
    if total > SMALL and total > MOST_RATIO * packed:
        raise refuse(f"of {packed / 1e6:.1f} MB unpacks to {total / 1e6:.0f} MB: no pictures do that.")


def _extract_one(path: Path, archive: zipfile.ZipFile, each: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Write one file and return its size, which may not be more than the list of contents has said of all together."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    try:
        with archive.open(each) as source, target.open("xb") as file:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > left:
                    raise InputError("unpacks to more than it says.", where=path.name, cure="Pack the pictures anew.")
                file.write(chunk)
    except FileExistsError:
        what = f"holds {each.filename!r} and another file whose name is the same on this disk."
        raise InputError(what, where=path.name, cure="Rename one of them.") from None
    return size


def _innermost(folder: Path) -> Path:
    """The folder within, as long as there is only one and nothing beside it: zips are often made of a folder."""
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

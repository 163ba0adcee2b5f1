"""Reads an untrusted zip: its entries, under correctly decoded names, or why it is of no use.

Nothing is read of it but its list of contents, which may have `MOST_CONTENTS` bytes, until an entry is asked for.
"""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lorapipe.code_pages import guess
from lorapipe.file_signatures import PACKED, PICTURES, kind_of
from lorapipe.picture_files import Contents, sort_out
from lorapipe.picture_files.magic import HEAD, format_of
from lorapipe.regular_files import open_inside, size_in_words
from lorapipe.watch.folder_state import MOST_ASKED, FolderState, counted, is_reg, shown

MOST_CONTENTS = 16_000_000
"""Bytes of a list of contents: a hundred thousand files have not as many."""
UTF8 = 0x800
ENCRYPTED = 0x1
UNICODE_PATH = 0x7075
"""The extra field in which Info-ZIP's programs say a name in UTF-8."""
READ = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
QUICK = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Of which the first bytes can be read without unpacking more."""
METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 10: "Implode", 18: "TERSE", 20: "Zstandard", 93: "Zstandard"}
METHODS |= {94: "MP3", 95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd", 99: "AES"}
INSTEAD = {
    **{kind: f"{'an' if kind == 'xz' else 'a'} {kind} archive" for kind in PACKED},
    **dict.fromkeys(PICTURES, "a picture"),
    "Git LFS": "a pointer of Git LFS",
}
"""What a file is that is called a zip, by its kind."""
WEB_PAGE = (b"<!doctype", b"<html")
ARCHIVES = frozenset({".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".cbz", ".cbr"})
DAMAGE = (
    zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, ValueError, RuntimeError, LookupError,
    OverflowError, MemoryError,
)  # fmt: skip
"""What Python's modules raise where a zip is damaged."""
COPY_AGAIN = "Copy it again, or unpack it yourself and put the folder here."
UNPACK = "Unpack it yourself and put the folder here."


class ZipError(Exception):
    """What is wrong with a zip, in words, and the cure; `passing` if a copy of it may still be under way."""

    def __init__(self, what: str, cure: str = COPY_AGAIN, *, passing: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure
        self.passing = passing


@dataclass(frozen=True)
class Entry:
    """A file in a zip: its correctly decoded name, with `/` between folders."""

    name: str
    info: zipfile.ZipInfo

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders that lead to it, and itself."""
        return PurePosixPath(self.name).parts


class Archive:
    """An open zip. `entries` are its files, without its folders; `names` says how their names were read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        raw = [_raw_name(info) for info in archive.infolist()]
        self.names = guess([name for name in raw if isinstance(name, bytes)])
        named = zip((self._named(name) for name in raw), archive.infolist(), strict=True)
        self.entries = [Entry(name, info) for name, info in named if not name.endswith("/")]

    def _named(self, name: str | bytes) -> str:
        text = self.names.decode(name) if isinstance(name, bytes) else name
        return text.replace("\\", "/")  # after decoding: in some code pages it is the second half of a letter

    def sorted_out(self) -> Contents:
        """Its files sorted by name; where that does not tell, by the first bytes of up to `MOST_ASKED` files."""
        subjects = {each.name: each for each in self.entries if not any(map(is_reg, each.parts[:-1]))}
        asked = iter(range(MOST_ASKED))
        return sort_out(
            subjects, is_picture=lambda name: next(asked, None) is not None and self._begins(subjects[name])
        )

    def _begins(self, entry: Entry) -> bool:
        if entry.info.compress_type not in QUICK or entry.info.flag_bits & ENCRYPTED:
            return entry.info.file_size > 0  # told when it is unpacked
        try:
            return bool(format_of(next(self.chunks(entry, HEAD), b""), entry.info.file_size))
        except (ZipError, OSError):
            return True  # as above

    def require_readable(self, entry: Entry) -> None:
        """Raises `ZipError` if an entry's compression is not supported."""
        if entry.info.flag_bits & ENCRYPTED:
            raise ZipError("is encrypted.", "Pack it without a password.")
        if entry.info.compress_type not in READ:
            method = METHODS.get(entry.info.compress_type, f"method {entry.info.compress_type}")
            raise ZipError(f"is whole, but packed in a way that is not read here ({method}).", UNPACK)

    def chunks(self, entry: Entry, size: int) -> Iterator[bytes]:
        """Yields the bytes of an entry, `size` at a time. Raises `ZipError` if it is damaged."""
        with _in_words(), self._archive.open(entry.info) as source:
            while chunk := source.read(size):
                yield chunk


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip. Raises `ZipError` if it is none or is damaged, `OSError` if it cannot be read at all."""
    with open_inside(path, path.parent) as file, ExitStack() as stack:
        _require_zip(file.read(64))
        with _in_words():
            opened = Archive(stack.enter_context(zipfile.ZipFile(_Bounded(file))))
        yield opened


def zip_state(path: Path) -> FolderState:
    """The state of a zip by its own list of contents; one that is not whole yet has none."""
    try:
        with open_archive(path) as archive:
            entries = archive.entries
            pictures = counted(archive.sorted_out())
    except ZipError as trouble:
        return FolderState("", 0, trouble.what.removesuffix("."), passing=trouble.passing)
    except OSError as error:
        return FolderState("", 0, f"cannot be read: {error.strerror}", passing=True)
    parts = [entry.parts for entry in entries if entry.parts]
    if pictures["pictures"] or pictures["trouble"]:
        return FolderState("", **pictures)
    inner = next((each[-1] for each in parts if PurePosixPath(each[-1]).suffix.lower() in ARCHIVES), None)
    if inner is not None:
        return FolderState("", 0, f"holds no picture, but {shown(inner)}: unpack that, and put the folder here")
    return FolderState("", 0, "holds no picture" if parts else "is a zip of nothing")


class _Bounded:
    """A file whose reads are bounded by the size that a list of contents may have: a zip can claim any size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if size > MOST_CONTENTS:
            raise ZipError(f"has a list of contents of {size_in_words(size)}.", "Pack the pictures anew.")
        return self._file.read(size)


@contextmanager
def _in_words() -> Iterator[None]:
    """Turns the exceptions of Python's modules for damaged zips into `ZipError`."""
    try:
        yield
    except ZipError:
        raise
    except zipfile.BadZipFile as error:
        if "multiple disks" in str(error):
            raise ZipError("is one part of a zip that comes in several.", UNPACK) from None
        raise ZipError(f"is not a whole zip file ({error}).", passing=True) from None
    except DAMAGE as error:
        raise ZipError(f"is not a whole zip file ({error or 'it is damaged'}).", passing=True) from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2 has no number for what is wrong with its data
            raise
        raise ZipError(f"is not a whole zip file ({error}).", passing=True) from None


def _require_zip(beginning: bytes) -> None:
    if not beginning:
        raise ZipError("is empty.", passing=True)
    is_page = beginning.lstrip().lower().startswith(WEB_PAGE)
    if found := "a web page" if is_page else INSTEAD.get(kind_of(beginning)):
        raise ZipError(f"is no zip but {found}.", UNPACK if "archive" in found else COPY_AGAIN)


def _raw_name(info: zipfile.ZipInfo) -> str | bytes:
    """An entry's name where the zip says what its letters are; otherwise the bytes of it."""
    if info.flag_bits & UTF8:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437")  # which Python has decoded it with, and has a letter for every byte
    return _unicode_path(info.extra, raw) or raw


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in Info-ZIP's extra field, if there is one and it is still this entry's."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and field[:1] == b"\x01" and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            try:
                return field[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
    return None

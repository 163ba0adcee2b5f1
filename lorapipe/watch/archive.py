"""Read an untrusted zip: its entries with correctly decoded names, or why it cannot be used.

At first only its central directory is read, of at most `MOST_CONTENTS` bytes.
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
from lorapipe.kohya_folders import is_regularisation
from lorapipe.picture_files import Contents, sort_out
from lorapipe.picture_files.magic import HEAD, format_of
from lorapipe.regular_files import open_inside, size_in_words
from lorapipe.watch.folder_state import MOST_ASKED, FolderState, counted, shown

MOST_CONTENTS = 16_000_000
"""Most bytes of a central directory: more than those of a hundred thousand files."""
UTF8 = 0x800
ENCRYPTED = 0x1
UNICODE_PATH = 0x7075
"""The extra field with a UTF-8 name, as written by Info-ZIP's programs."""
READ = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
QUICK = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Compression methods with which the first bytes can be read without unpacking more."""
METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 10: "Implode", 18: "TERSE", 20: "Zstandard", 93: "Zstandard"}
METHODS |= {94: "MP3", 95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd", 99: "AES"}
INSTEAD = {
    **{kind: f"{'an' if kind == 'xz' else 'a'} {kind} archive" for kind in PACKED},
    **dict.fromkeys(PICTURES, "a picture"),
    "Git LFS": "a pointer of Git LFS",
}
"""What a file named .zip really is, by its kind."""
WEB_PAGE = (b"<!doctype", b"<html")
ARCHIVES = frozenset({".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".cbz", ".cbr"})
DAMAGE = (
    zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, ValueError, RuntimeError, LookupError,
    OverflowError, MemoryError,
)  # fmt: skip
"""What Python's modules raise for damaged zips."""
COPY_AGAIN = "Copy it again, or unpack it yourself and put the folder here."
UNPACK = "Unpack it yourself and put the folder here."


class ZipError(Exception):
    """What is wrong with a zip, and the cure; `passing` if it may still be being copied."""

    def __init__(self, what: str, cure: str = COPY_AGAIN, *, passing: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure
        self.passing = passing


@dataclass(frozen=True)
class Entry:
    """A file in a zip, with its correctly decoded name; folders are separated by `/`."""

    name: str
    info: zipfile.ZipInfo

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of its path."""
        return PurePosixPath(self.name).parts


class Archive:
    """An open zip. `entries` are its files, without folders; `names` is the encoding of their names."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        raw = [_raw_name(info) for info in archive.infolist()]
        self.names = guess([name for name in raw if isinstance(name, bytes)])
        named = zip((self._named(name) for name in raw), archive.infolist(), strict=True)
        self.entries = [Entry(name, info) for name, info in named if not name.endswith("/")]

    def _named(self, name: str | bytes) -> str:
        text = self.names.decode(name) if isinstance(name, bytes) else name
        return text.replace("\\", "/")  # after decoding, since in some code pages it is the second byte of a character

    def sorted_out(self) -> Contents:
        """Sort its files into kinds by name, or by the first bytes of up to `MOST_ASKED` files."""
        subjects = {each.name: each for each in self.entries if not any(map(is_regularisation, each.parts[:-1]))}
        asked = iter(range(MOST_ASKED))
        return sort_out(
            subjects, is_picture=lambda name: next(asked, None) is not None and self._begins(subjects[name])
        )

    def _begins(self, entry: Entry) -> bool:
        if entry.info.compress_type not in QUICK or entry.info.flag_bits & ENCRYPTED:
            return entry.info.file_size > 0  # unpacking reports it
        try:
            return bool(format_of(next(self.chunks(entry, HEAD), b""), entry.info.file_size))
        except (ZipError, OSError):
            return True  # as above

    def require_readable(self, entry: Entry) -> None:
        """Raise `ZipError` if an entry's compression is not supported."""
        if entry.info.flag_bits & ENCRYPTED:
            raise ZipError("is encrypted.", "Pack it without a password.")
        if entry.info.compress_type not in READ:
            method = METHODS.get(entry.info.compress_type, f"method {entry.info.compress_type}")
            raise ZipError(f"is intact, but its compression method is not supported ({method}).", UNPACK)

    def chunks(self, entry: Entry, size: int) -> Iterator[bytes]:
        """Yield the bytes of an entry, `size` at a time. Raises `ZipError` if it is damaged."""
        with _as_zip_error(), self._archive.open(entry.info) as source:
            while chunk := source.read(size):
                yield chunk


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip. Raises `ZipError` if it is none or is damaged, `OSError` if it cannot be read at all."""
    with open_inside(path, path.parent) as file, ExitStack() as stack:
        _require_zip(file.read(64))
        with _as_zip_error():
            opened = Archive(stack.enter_context(zipfile.ZipFile(_Bounded(file))))
        yield opened


def zip_state(path: Path) -> FolderState:
    """Return the state of a zip from its central directory; an incomplete zip has none yet."""
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
        return FolderState("", 0, f"has no picture, but {shown(inner)}: unpack that, and put the folder here")
    return FolderState("", 0, "has no picture" if parts else "is an empty zip")


class _Bounded:
    """A file with bounded reads, since a zip can claim any size of its central directory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if size > MOST_CONTENTS:
            raise ZipError(f"has a list of contents of {size_in_words(size)}.", "Pack the pictures again.")
        return self._file.read(size)


@contextmanager
def _as_zip_error() -> Iterator[None]:
    """Turn the exceptions of Python's modules for damaged zips into `ZipError`."""
    try:
        yield
    except ZipError:
        raise
    except zipfile.BadZipFile as error:
        if "multiple disks" in str(error):
            raise ZipError("is one part of a multi-part zip.", UNPACK) from None
        raise ZipError(f"is not a whole zip file ({error}).", passing=True) from None
    except DAMAGE as error:
        raise ZipError(f"is not a whole zip file ({error or 'it is damaged'}).", passing=True) from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2 raises OSError without a number for damaged data
            raise
        raise ZipError(f"is not a whole zip file ({error}).", passing=True) from None


def _require_zip(beginning: bytes) -> None:
    if not beginning:
        raise ZipError("is empty.", passing=True)
    is_page = beginning.lstrip().lower().startswith(WEB_PAGE)
    if found := "a web page" if is_page else INSTEAD.get(kind_of(beginning)):
        raise ZipError(f"is not a zip but {found}.", UNPACK if "archive" in found else COPY_AGAIN)


def _raw_name(info: zipfile.ZipInfo) -> str | bytes:
    """Return an entry's name if the zip gives its encoding; otherwise its bytes."""
    if info.flag_bits & UTF8:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437")  # Python has decoded it so, which is reversible
    return _unicode_path(info.extra, raw) or raw


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name in Info-ZIP's extra field, if there is one that belongs to this entry."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and field[:1] == b"\x01" and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            try:
                return field[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
    return None

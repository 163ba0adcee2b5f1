"""Which of Pillow's readers are let near a user's file, and what is said where none of them can read it.

A file's first bytes choose the reader, and only that one is asked. Closed stay those that run other programs (EPS is
PostScript, WMF asks Windows to draw), those that read containers with more than a picture in them (FPX and MIC are OLE
files, PSD has layers, PDF), and those of formats in which nobody keeps photographs or drawings: each reader is code that an
attacker may try.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lorapipe.picture_files.magic import HEAD, format_of, other_kind
from lorapipe.regular_files import open_regular
from lorapipe.training.data import jpeg_decode, png_chunks
from lorapipe.training.data.decode_memory import BUDGET, LIMIT, needed

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = (
    "PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF", "HEIF", "TIFF", "JPEG2000", "PPM", "TGA", "ICO", "CUR", "PCX", "SGI", "QOI",
    "DDS",
)  # fmt: skip
"""JPEG's reader also reads MPO, a phone's JPEG with a second one inside; HEIF's is pillow-heif's."""
LOSSLESS = frozenset(("PNG", "BMP", "TIFF", "PPM", "TGA", "PCX", "SGI", "QOI"))
SMALL_FILE = 16_000_000
"""Bytes of a file that is read without asking for room first."""
SLOW_PIXELS = 16_000_000
"""Pixels of a kind that Pillow decodes in Python, a microsecond each."""
BLOCK = 64 << 20
"""Bytes in which Pillow takes memory for a large picture. glibc keeps blocks of its usual 16 MB for the thread that had
them, so that eight threads which decode in turn come to take eight times as much; those of more than 32 MB it gives back."""
ASK_FOR_HEIF = 'a HEIC picture, for which pillow-heif is needed: pip install "lorapipe[heic]", or save it as png or jpg'


class Unreadable(Exception):
    """This file is no picture that can be trained on, and why."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF, large pictures); what matters is raised. Enter before threads start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def reading(path: Path) -> Iterator[bytes]:
    """The bytes of a picture's file. A large one is read when there is room for it and for the picture in it.

    Raises `Unreadable` where it cannot be read, is no ordinary file, or is larger than all of the room.
    """
    with _ordinary(path) as (file, size):
        if size > LIMIT:
            raise Unreadable(f"a file of {size / 1e9:.1f} GB, too large for a picture")
        with BUDGET.hold(_weighed(file, size)) if size > SMALL_FILE else _free():
            yield _read(file, size)


@contextmanager
def opened(data: bytes) -> Iterator[Image]:
    """The picture in a file's bytes, its header read; whatever is raised within comes out as `Unreadable`."""
    if not data:
        raise Unreadable("the file is empty")
    name = _reader(data, len(data))
    profile = None
    if name == "PNG":
        data, profile = png_chunks.plain(data)
    with _in_words(name), _opened(io.BytesIO(data), name) as image:
        if profile is not None:
            image.info["icc_profile"] = profile
        jpeg_decode.hasten(image, len(data))
        yield image


@contextmanager
def room(image: Image, length: int = 0) -> Iterator[None]:
    """Waits until an opened picture can be decoded within the memory that there is for pictures; see `needed`."""
    with BUDGET.hold(needed(image, length)):
        try:
            yield
        except BaseException:
            image.close()  # the error holds on to it
            raise


def head_of(path: Path) -> tuple[tuple[int, int], int]:
    """(width, height) and EXIF's orientation of a picture, from the head of its file. Raises `Unreadable`."""
    with _ordinary(path) as (file, size):
        head = file.read(1000)
        name = _reader(head, size)
        file.seek(0)
        try:
            with _in_words(name), _opened(file, name) as image:
                return image.size, orientation(image, head=True)
        except Unreadable:
            if name != "PNG":
                raise
    with reading(path) as data, opened(data) as image:  # something hangs on it that has to be taken off
        return image.size, orientation(image, head=True)


def orientation(image: Image, head: bool = False) -> int:
    """EXIF's orientation, 1 (upright) to 8; 1 where there is none, or none that makes sense.

    A PNG is decoded for it, as it may be said behind the pixels; unless only the `head` is to be asked.
    """
    import PIL.Image

    if image.format in ("TIFF", "HEIF"):  # these are turned by their readers
        return 1
    try:
        exif = PIL.Image.Image.getexif(image) if head else image.getexif()
        return int(exif.get(0x0112, 1))
    except Exception:  # a garbled EXIF block raises anything, and does no harm to the picture
        return 1


def is_lossless(data: bytes) -> bool:
    """Whether a file's format keeps every pixel as it was."""
    name = format_of(data[:HEAD], len(data))
    return name in LOSSLESS or (name == "WEBP" and data[12:16] == b"VP8L")


@contextmanager
def _ordinary(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """A file opened for reading, and its size; pipes and devices are not opened, or not waited for."""
    try:
        opened = open_regular(path)
    except OSError as error:
        if path.is_symlink() and not path.exists():
            raise Unreadable("a link that leads nowhere") from None
        raise Unreadable(f"cannot be opened ({error.strerror})") from None
    with opened as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise Unreadable("the file is empty")
        yield file, size


def _read(file: IO[bytes], size: int) -> bytes:
    try:
        file.seek(0)
        return file.read(size)
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from None


@contextmanager
def _free() -> Iterator[None]:
    yield


def _weighed(file: IO[bytes], size: int) -> int:
    """What a large file and the picture in it take; of what is no picture, the file alone."""
    try:
        with _opened(file, _reader(file.read(1000), size)) as image:
            return needed(image, 2 * size)
    except Exception:  # what is wrong with it is said when it is decoded
        return size


def _reader(head: bytes, size: int) -> str:
    name = format_of(head[:HEAD], size)
    if name not in FORMATS:
        raise Unreadable(_what_instead(head))
    if name == "HEIF":
        _import_heif()
    return name


@contextmanager
def _opened(file: IO[bytes], name: str) -> Iterator[Any]:
    import PIL.Image

    _import_readers()
    file.seek(0)
    with PIL.Image.open(file, formats=(name,)) as image:
        _check(image, name)
        yield image


def _check(image: Image, name: str) -> None:
    """Refuse what would take more memory or time than a picture may, before it takes any."""
    pixels = image.width * image.height
    if (size := needed(image, 0)) > LIMIT:
        what = f"{image.width}x{image.height} pixels would take {size / 1e9:.1f} GB to decode"
        raise Unreadable(f"{what}; make it smaller, or save it as jpg")
    if name == "ICO":
        pixels = max(pixels, *(_embedded(image)), 1)
    slow = name in ("QOI", "DDS") or (name == "PPM" and image.tile and image.tile[0][0] != "raw")
    if (slow or name == "ICO") and pixels > SLOW_PIXELS:
        raise Unreadable(f"{pixels / 1e6:.0f} megapixels are too many for this kind of file; save it as png or jpg")


def _embedded(image: Any) -> list[int]:
    """The pixels of the pictures in an icon as these say them: an icon of 256 pixels may hold a PNG of any size."""
    found = [0, 0]
    for entry in image.ico.entry:
        image.fp.seek(entry.offset)
        head = image.fp.read(24)
        png_size = head[16:20], head[20:24]
        sizes = png_size if head.startswith(png_chunks.SIGNATURE) else (head[4:8][::-1], head[8:12][::-1])
        width, height = (int.from_bytes(side, "big") for side in sizes)
        found.append(width * height)
    return found


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Whatever Pillow's readers raise on a bad file, as `Unreadable`."""
    import PIL.Image

    try:
        yield
    except Unreadable:
        raise
    except PIL.UnidentifiedImageError:
        shown = {"HEIF": "HEIC"}.get(name, name)
        raise Unreadable(f"damaged, breaks off, or a kind of {shown} that is not read") from None
    except PIL.Image.DecompressionBombError:
        raise Unreadable("more than 178 megapixels") from None
    except MemoryError:
        raise Unreadable("too large for this computer's memory") from None
    except Exception as error:  # Pillow's readers raise whatever their format's parser came across
        reason = "the file breaks off" if "truncated" in str(error).lower() else f"damaged ({_short(error)})"
        raise Unreadable(reason) from None


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "decoder error" in text:  # a number of libtiff's, which says no more
        return "its pixels cannot be unpacked"
    return text if len(text) <= 120 else f"{text[:117]}…"


@cache
def _import_readers() -> None:
    """Pillow registers its readers on first use, which goes wrong when that is in several threads; imports do not."""
    from PIL import (  # noqa: F401
        AvifImagePlugin,
        BmpImagePlugin,
        CurImagePlugin,
        DdsImagePlugin,
        GifImagePlugin,
        IcoImagePlugin,
        Image,
        Jpeg2KImagePlugin,
        JpegImagePlugin,
        MpoImagePlugin,
        PcxImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        QoiImagePlugin,
        SgiImagePlugin,
        TgaImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    if Image.core.get_block_size() < BLOCK:
        Image.core.set_block_size(BLOCK)


def _import_heif() -> None:
    try:
        from pillow_heif import HeifImagePlugin  # noqa: F401
    except ImportError:
        raise Unreadable(ASK_FOR_HEIF) from None


def _what_instead(data: bytes) -> str:
    """The reason for a file that is none of the pictures that are read."""
    if kind := other_kind(data):
        return f"not a picture that can be read, but {kind}"
    if data[:200].lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "not a picture, but a web page"
    if data[:500].lstrip().startswith((b"<svg", b"<?xml")) and b"<svg" in data[:1000]:
        return "a vector drawing; export it as png"
    return "not a picture, but text" if _is_text(data[:1000]) else "not a picture"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:  # a character cut in two at the end is still text
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char.isspace() for char in text)

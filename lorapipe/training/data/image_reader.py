"""Open picture files with a safe subset of Pillow's decoders, and say why a file cannot be read.

A file's first bytes choose the decoder, and only that one is tried. Excluded are decoders that run other programs (EPS is
PostScript, WMF calls Windows), those of containers (FPX and MIC are OLE files, PSD has layers, PDF), and those of
formats in which nobody stores photographs or drawings: each decoder is attack surface.
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
"""The formats that are read. JPEG includes MPO, a phone's JPEG with a second one inside; HEIF needs pillow-heif."""
LOSSLESS = frozenset(("PNG", "BMP", "TIFF", "PPM", "TGA", "PCX", "SGI", "QOI"))
SMALL_FILE = 16_000_000
"""Bytes up to which a file is read without a reservation in the memory budget."""
SLOW_PIXELS = 16_000_000
"""Most pixels of formats that Pillow decodes in Python, at a microsecond each."""
BLOCK = 64 << 20
"""Size in bytes of the blocks in which Pillow allocates a large picture. With the default of 16 MB glibc keeps freed blocks
in each thread's arena, so eight threads take up to eight times the memory; blocks above 32 MB go back to the system."""
ASK_FOR_HEIF = 'a HEIC picture, for which pillow-heif is needed: pip install "lorapipe[heic]", or save it as png or jpg'


class Unreadable(Exception):
    """A file is not a picture that can be trained on, and why."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF, large pictures); errors are still raised. Enter it before threads start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def reading(path: Path) -> Iterator[bytes]:
    """Read a picture's file. A large one first waits for memory for the file and its decoded picture.

    Raises `Unreadable` if it cannot be read, is not a regular file, or is larger than the memory budget.
    """
    with _ordinary(path) as (file, size):
        if size > LIMIT:
            raise Unreadable(f"a file of {size / 1e9:.1f} GB, too large for a picture")
        with BUDGET.hold(_memory_needed(file, size)) if size > SMALL_FILE else _unreserved():
            yield _read(file, size)


@contextmanager
def opened(data: bytes) -> Iterator[Image]:
    """Open the picture in a file's bytes and read its header. Errors within the block become `Unreadable`."""
    if not data:
        raise Unreadable("the file is empty")
    name = _reader(data, len(data))
    profile = None
    if name == "PNG":
        data, profile = png_chunks.plain(data)
    with _as_unreadable(name), _opened(io.BytesIO(data), name) as image:
        if profile is not None:
            image.info["icc_profile"] = profile
        jpeg_decode.hasten(image, len(data))
        yield image


@contextmanager
def room(image: Image, length: int = 0) -> Iterator[None]:
    """Reserve the memory to decode an opened picture, and wait for it if need be; see `needed`."""
    with BUDGET.hold(needed(image, length)):
        try:
            yield
        except BaseException:
            image.close()  # the traceback would keep it in memory
            raise


def head_of(path: Path) -> tuple[tuple[int, int], int]:
    """Return (width, height) and the EXIF orientation of a picture, from its header. Raises `Unreadable`."""
    with _ordinary(path) as (file, size):
        head = file.read(1000)
        name = _reader(head, size)
        file.seek(0)
        try:
            with _as_unreadable(name), _opened(file, name) as image:
                return image.size, orientation(image, head=True)
        except Unreadable:
            if name != "PNG":
                raise
    with reading(path) as data, opened(data) as image:  # a PNG with chunks that have to be removed first
        return image.size, orientation(image, head=True)


def orientation(image: Image, head: bool = False) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 if there is none or it is invalid.

    A PNG is decoded for it, since EXIF may follow the pixels, unless only the `head` is to be read.
    """
    import PIL.Image

    if image.format in ("TIFF", "HEIF"):  # their decoders rotate them
        return 1
    try:
        exif = PIL.Image.Image.getexif(image) if head else image.getexif()
        return int(exif.get(0x0112, 1))
    except Exception:  # a damaged EXIF block raises anything, but the picture is readable
        return 1


def is_lossless(data: bytes) -> bool:
    """Return whether a file's format is lossless."""
    name = format_of(data[:HEAD], len(data))
    return name in LOSSLESS or (name == "WEBP" and data[12:16] == b"VP8L")


@contextmanager
def _ordinary(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file for reading, and return it with its size; never blocks on pipes and devices."""
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
def _unreserved() -> Iterator[None]:
    yield


def _memory_needed(file: IO[bytes], size: int) -> int:
    """Return the bytes that a large file and its decoded picture take; if it is not a picture, its size."""
    try:
        with _opened(file, _reader(file.read(1000), size)) as image:
            return needed(image, 2 * size)
    except Exception:  # decoding it will say what is wrong
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
    """Raise `Unreadable` for pictures that would take too much memory or time, before decoding begins."""
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
    """Return the pixel counts in the headers of an icon's pictures: a 256-pixel icon may contain a PNG of any size."""
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
def _as_unreadable(name: str) -> Iterator[None]:
    """Turn whatever Pillow's decoders raise on a bad file into `Unreadable`."""
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
    except Exception as error:  # Pillow's decoders raise any type of error
        reason = "the file breaks off" if "truncated" in str(error).lower() else f"damaged ({_short(error)})"
        raise Unreadable(reason) from None


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "decoder error" in text:  # libtiff's error number, which says nothing to a user
        return "its pixels cannot be unpacked"
    return text if len(text) <= 120 else f"{text[:117]}…"


@cache
def _import_readers() -> None:
    """Import Pillow's decoders here: Pillow would register them on first use, which is not thread-safe."""
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
    """Return why a file in none of the formats is not read."""
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
    except UnicodeDecodeError as error:  # the last character may be cut
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char.isspace() for char in text)

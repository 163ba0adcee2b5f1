"""Picture files that are whole and unusual, huge and small, or none: chunks, modes, bombs, and how names lie."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageCms

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunks(png: bytes, before: Iterable[bytes] = (), behind: Iterable[bytes] = ()) -> bytes:
    """A PNG with more chunks behind its header, and before its end."""
    head, tail = png[: 8 + 25], png[8 + 25 :]
    return head + b"".join(before) + tail[:-12] + b"".join(behind) + tail[-12:]


def text(keyword: bytes, size: int, kind: bytes = b"zTXt", fill: bytes = b"workflow ") -> bytes:
    """A text chunk that unpacks to `size` bytes."""
    said = (fill * (size // len(fill) + 1))[:size]
    body = {
        b"tEXt": lambda: keyword + b"\0" + said,
        b"zTXt": lambda: keyword + b"\0\0" + zlib.compress(said, 9),
        b"iTXt": lambda: keyword + b"\0\1\0\0\0" + zlib.compress(said, 9),
    }[kind]()
    return chunk(kind, body)


def profile_of(size: int) -> bytes:
    """A colour profile of so many bytes whose red is sRGB's green, and the reverse."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"...."), (b"gXYZ", b"rXYZ"), (b"....", b"gXYZ"), (b"s\0R\0G\0B", b"s\0w\0a\0p")):
        profile = profile.replace(old, new)
    data = profile + bytes(max(0, size - len(profile)))
    return struct.pack(">I", len(data)) + data[4:]


def icc(profile: bytes) -> bytes:
    """A profile's chunk."""
    return chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile, 9))


BOMBS = {"palette": (8, 3, 1), "RGBA": (8, 6, 4), "RGB": (8, 2, 3), "16 bits": (16, 0, 2), "grey and alpha": (8, 4, 2)}


def bomb(side: int, kind: str) -> bytes:
    """A PNG of a few hundred kB that unpacks to side × side pixels of one colour."""
    depth, colour, size = BOMBS[kind]
    packer, row = zlib.compressobj(9), bytes(1 + side * size)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    extra = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(range(256))) if kind == "palette" else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0))
    return SIGNATURE + head + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def icon_of(png: bytes) -> bytes:
    """An icon whose directory says 16 × 16, and which holds a PNG of any size."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22) + png


def tiff(image: Image.Image, mode: str, **options: object) -> bytes:
    """A picture as a TIFF of a mode, also of those that Pillow does not convert to."""
    pixels = np.asarray(image.convert("L"))
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(pixels.astype(np.float32) / 255)
    elif mode == "I":
        image = Image.fromarray(pixels.astype(np.int32) * 16_843_009)
    elif mode == "LAB":
        source, target = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(source, target, "RGB", "LAB"))
    else:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", **options)
    return buffer.getvalue()

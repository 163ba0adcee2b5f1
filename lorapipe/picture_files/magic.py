"""Detects picture formats by first bytes (magic numbers): `photo.jpg` may be a HEIC, a web page, an LFS pointer."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from lorapipe.file_signatures import kind_of
from lorapipe.regular_files import open_regular

HEAD = 64
"""Bytes that detection needs."""

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"qoif", "QOI"),
    (b"\x01\xda", "SGI"),
    (b"DDS ", "DDS"),
)
_ICONS = {b"\0\0\x01\0": "ICO", b"\0\0\x02\0": "CUR"}
_NOT_READ = (
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"\x01\0\0\0", "a Windows metafile"),
    (b"gimp xcf", "a GIMP file"),
    (b"icns", "a Mac icon"),
    (b"\x1a\x45\xdf\xa3", "a film"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
)
_OTHERS = {
    "Git LFS": "a Git LFS pointer; fetch the file itself with git lfs pull",
    "PDF": "a PDF",
    "OLE": "an OLE file (FPX, MIC or a document)",
    "zip": "a zip",
    "RAR": "an archive",
    "7z": "an archive",
}
_HEIF = re.compile(rb"hei[cmsx]|hev[cmsx]|mif[12]|msf1|heif")

_PATTERNS = (
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"P[1-6]\s"), "PPM"),
    (re.compile(rb"\x0a[\x00\x02\x03\x04\x05]\x01[\x01\x02\x04\x08]"), "PCX"),
)


def format_of(head: bytes, size: int | None = None) -> str:
    """Return Pillow's name of the format of a file that begins with `head`; empty for unsupported formats.

    `size` is the length of the whole file, where known.
    """
    for start, name in _STARTS:
        if head.startswith(start):
            return name if name != "BMP" or len(head) < 14 or head[6:10] == b"\0\0\0\0" else ""
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[:4] in _ICONS and head[4:6] != b"\0\0":  # else it is a Targa's beginning
        return _ICONS[head[:4]]
    for pattern, name in _PATTERNS:
        if pattern.match(head):
            return name
    return "TGA" if _is_targa(head, size) else ""


def other_kind(head: bytes) -> str:
    """Say what a file of an unsupported format is; empty where unknown."""
    if (found := _OTHERS.get(kind_of(head))) is not None:
        return found
    if head[4:8] == b"ftyp":
        return "a film"
    return next((name for start, name in _NOT_READ if head.startswith(start)), "")


def begins_like_a_picture(path: Path | str) -> bool:
    """Return whether a regular file's first bytes are a picture's. Never raises."""
    try:
        with open_regular(path) as file:
            return bool(format_of(file.read(HEAD), os.fstat(file.fileno()).st_size))
    except (OSError, ValueError):
        return False


def _of_brands(head: bytes) -> str:
    brands = [
        head[at : at + 4] for at in range(8, min(len(head), int.from_bytes(head[:4], "big") or 16), 4) if at != 12
    ]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIF" if any(map(_HEIF.fullmatch, brands)) else ""


_TARGA = struct.Struct("<BBBHHBHHHHBB")
"""Targa header: ID length, colour map type, image type; map origin, length, depth; x, y, width, height, depth, flags."""


def _is_targa(head: bytes, size: int | None) -> bool:
    """Return whether a header is a valid Targa header in all fields: the format has no magic number."""
    if len(head) < _TARGA.size:
        return False
    id_length, mapped, kind, map_start, map_length, map_bits, _, _, width, height, bits, flags = _TARGA.unpack_from(
        head
    )
    depths = (8,) if kind in (1, 9, 3, 11) else (16, 24, 32)
    if bits not in depths or not width * height or flags & 0xC0:
        return False
    if not _is_targa_map(mapped, kind, map_start, map_length, map_bits):
        return False
    whole = _TARGA.size + id_length + map_length * ((map_bits + 7) // 8) + width * height * bits // 8
    return size is None or kind >= 9 or size >= whole // 2


def _is_targa_map(mapped: int, kind: int, start: int, length: int, bits: int) -> bool:
    """Return whether colour map and image type agree: only types with a palette have a map."""
    if mapped == 1:
        return kind in (1, 9) and bits in (15, 16, 24, 32) and 0 < length <= 256
    return mapped == 0 and kind in (2, 3, 10, 11) and not (start or length or bits)

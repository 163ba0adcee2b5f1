"""What kind of picture a file is, by its first bytes; names lie (`photo.jpg` may be a HEIC, a web page, an LFS pointer)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lorapipe.file_signatures import kind_of
from lorapipe.regular_files import open_regular

HEAD = 64
"""Bytes that tell."""

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


def format_of(head: bytes, size: int | None = None) -> str:
    """Pillow's name of the format whose picture begins with `head`; empty where it is none of those that are read.

    `size`, where it is known, is the length of the whole file.
    """
    for start, name in _STARTS:
        if head.startswith(start):
            return name if name != "BMP" or len(head) < 14 or head[6:10] == b"\0\0\0\0" else ""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[:4] in _ICONS and head[4:6] != b"\0\0":  # else it is a Targa's beginning
        return _ICONS[head[:4]]
    if re.match(rb"P[1-6]\s", head):
        return "PPM"
    if head[:1] == b"\x0a" and head[1:2] in b"\0\2\3\4\5" and head[2:3] == b"\1" and head[3:4] in b"\1\2\4\x08":
        return "PCX"
    return "TGA" if _is_targa(head, size) else ""


def other_kind(head: bytes) -> str:
    """What a file is that is none of the pictures that are read, in words; empty where that is not known."""
    if (found := _OTHERS.get(kind_of(head))) is not None:
        return found
    if head[4:8] == b"ftyp":
        return "a film"
    return next((name for start, name in _NOT_READ if head.startswith(start)), "")


def begins_like_a_picture(path: Path | str) -> bool:
    """Whether a regular file begins as a picture does. Never raises."""
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


def _is_targa(head: bytes, size: int | None) -> bool:
    """A Targa file has no mark of its own: its header must make sense in all its parts."""
    if len(head) < 18:
        return False
    mapped, kind, map_length, map_bits, bits, flags = (
        head[1],
        head[2],
        head[5] | head[6] << 8,
        head[7],
        head[16],
        head[17],
    )
    width, height = head[12] | head[13] << 8, head[14] | head[15] << 8
    fits = kind in (1, 9) if mapped == 1 else kind in (2, 3, 10, 11) and not any(head[3:8])
    depth = bits == 8 if kind in (1, 9, 3, 11) else bits in (16, 24, 32)
    if not (mapped in (0, 1) and fits and depth and width and height and not flags & 0xC0):
        return False
    if mapped and (map_bits not in (15, 16, 24, 32) or not 0 < map_length <= 256):
        return False
    whole = 18 + head[0] + map_length * ((map_bits + 7) // 8) + width * height * bits // 8
    return size is None or kind >= 9 or size >= whole // 2

"""File signatures: recognise the kind of a file by its first bytes, whatever its name.

Each reader has its own message for a kind. `lorapipe.picture_files.magic` distinguishes pictures further.
"""

from __future__ import annotations

import re

KINDS: tuple[tuple[bytes, str], ...] = (
    (rb"version https://git-lfs", "Git LFS"),
    (rb"\x89PNG", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"RIFF", "RIFF"),
    (rb"BM.{4}\x00{4}", "BMP"),  # words begin with BM too
    (rb"II\*\x00|MM\x00\*", "TIFF"),
    (rb"....ftyp(heic|heix|mif1|avif)", "HEIF"),
    (rb"PK\x03\x04", "zip"),
    (rb"7z\xbc\xaf", "7z"),
    (rb"Rar!", "RAR"),
    (rb"\x1f\x8b", "gzip"),
    (rb"BZh", "bzip2"),
    (rb"\xfd7zXZ", "xz"),
    (rb"\x28\xb5\x2f\xfd", "zstd"),
    (rb".{5}\x00{3}\{\s*[\"}]", "safetensors"),
    (rb"\x80[\x02-\x05]", "pickle"),
    (rb"GGUF", "GGUF"),
    (rb"\x89HDF", "HDF5"),
    (rb"%PDF", "PDF"),
    (rb"\xd0\xcf\x11\xe0", "OLE"),
    (rb"\{\\rtf", "RTF"),
    (rb"SQLite format 3", "SQLite"),
    (rb"\x7fELF|MZ.{60}|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "program"),
)
"""Beginning, as a regular expression → kind."""
PICTURES = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "HEIF")
PACKED = ("7z", "RAR", "gzip", "bzip2", "xz", "zstd")
_PATTERNS = tuple((re.compile(beginning, re.DOTALL), kind) for beginning, kind in KINDS)


def kind_of(head: bytes) -> str:
    """Return the kind of a file with these first bytes; empty if unknown."""
    return next((kind for pattern, kind in _PATTERNS if pattern.match(head)), "")

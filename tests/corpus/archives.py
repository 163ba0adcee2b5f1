"""Zips as programs of other systems and languages write them, and invalid ones."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

PICTURE = b"picture"
FOREIGN = {
    "korean": ("cp949", "10_한복 소녀"),
    "korean name": ("cp949", "페니"),
    "korean words": ("cp949", "여름 바다 사진"),
    "japanese": ("cp932", "10_着物"),
    "japanese sentence": ("cp932", "猫の写真"),
    "japanese backslash": ("cp932", "ソード表"),
    "simplified": ("gb18030", "汉服少女"),
    "simplified folder": ("gb18030", "新建文件夹"),
    "traditional": ("cp950", "漢服少女"),
    "traditional folder": ("cp950", "新增資料夾"),
    "russian dos": ("cp866", "10_Девушка"),
    "russian windows": ("cp1251", "Новая папка"),
    "german dos": ("cp850", "10_Mädchen"),
    "german windows": ("cp1252", "Größe"),
    "german mac": ("utf-8", "10_Mädchen"),
    "french": ("cp850", "été à la plage"),
    "danish": ("cp850", "Øyvind"),
    "spanish": ("cp437", "Señorita"),
    "polish": ("cp852", "księżniczka"),
    "greek": ("cp737", "κορίτσι"),
    "korean mac": ("utf-8", "한복 소녀"),
    "russian linux": ("utf-8", "Маша"),
    "plain": ("ascii", "10_penny woman"),
}
"""Code page and folder name of zips without the UTF-8 flag."""


def zip_of(
    path: Path, files: Mapping[bytes, bytes], *, utf8: bool = False, method: int = 0, flags: int = 0, extra: bytes = b""
) -> Path:
    """Return a zip of files with raw names. `method` and `flags` are written as given; the data is not compressed."""
    local, central = b"", b""
    flags |= 0x800 if utf8 else 0
    for name, data in files.items():
        head = (flags, method, 0, 0x21, zlib.crc32(data), len(data), len(data), len(name), len(extra))
        central += (
            b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, *head, 0, 0, 0, 0, len(local)) + name + extra
        )
        local += b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, *head) + name + extra + data
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(central), len(local), 0)
    path.write_bytes(local + central + b"PK\x05\x06" + end)
    return path


def foreign(path: Path, page: str, folder: str, count: int = 3) -> Path:
    """Return a zip of a folder of pictures, with names in a code page that the zip does not declare."""
    name = folder.encode(page)
    return zip_of(path, {name + b"/%d.png" % index: PICTURE for index in range(count)})


def unicode_path(raw: bytes, name: str) -> bytes:
    """Return Info-ZIP's extra field with a name in UTF-8."""
    field = b"\x01" + struct.pack("<I", zlib.crc32(raw)) + name.encode("utf-8")
    return struct.pack("<HH", 0x7075, len(field)) + field


def packed(path: Path, method: int, data: bytes = PICTURE * 1000, name: str = "a.png") -> Path:
    """Return a zip made by Python's zipfile."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, data)
    return path


def damaged(path: Path, at: float = 0.5, size: int = 8) -> Path:
    """Return the data with some bytes inverted at a position."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    data[start : start + size] = bytes(byte ^ 0xFF for byte in data[start : start + size])
    path.write_bytes(data)
    return path

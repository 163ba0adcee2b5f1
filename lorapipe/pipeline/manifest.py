"""A result's manifest in the store: as we have written it, or not at all.

It begins with the CRC-32 of all that follows, so that a flipped bit in it is no other result. Those of earlier versions
have none.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from collections.abc import Mapping
from typing import Any

MANIFEST_VERSION = 1
MANIFEST_KINDS: tuple[tuple[str, Any], ...] = (
    ("key", str), ("pipeline", str), ("stage", str), ("type", str), ("started", (int, float)), ("finished", (int, float)),
    ("settings", dict), ("sources", dict), ("artifact", dict), ("files", dict),
)  # fmt: skip
CHECKED = b'{"crc32": "'
"""How a manifest with a checksum begins; eight digits and `",` follow."""
BODY = len(CHECKED) + 10
FAR = 1e15
"""Seconds: no clock, however wrong, is set so far away."""
MOST_DEPTH = 100


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it is written: JSON that a person can read."""
    body = json.dumps(manifest, ensure_ascii=False, indent=1)[1:]
    return f'{CHECKED.decode()}{zlib.crc32(body.encode()):08x}",{body}'


def read_manifest(name: str) -> Mapping[str, Any] | None:
    """A manifest as we write it; None where there is none, or something else."""
    try:
        text = _read(name)
        if text.startswith(CHECKED) and int(text[len(CHECKED) : BODY - 2], 16) != zlib.crc32(text[BODY:]):
            return None
        manifest = json.loads(text)
        return manifest if _is_manifest(manifest) and _is_flat(text, manifest) else None
    except (OSError, ValueError, RecursionError, MemoryError):
        return None


def _is_manifest(value: Any) -> bool:
    """Whether it has all that is asked of a manifest, in the kinds that it is asked for."""
    if not (isinstance(value, dict) and value.get("version") == MANIFEST_VERSION):
        return False
    if not all(isinstance(value.get(name), kind) for name, kind in MANIFEST_KINDS):
        return False
    if not all(-FAR < value[name] < FAR for name in ("started", "finished")):
        return False
    listings = all(isinstance(each, dict) for each in value["sources"].values())
    return listings and all(
        isinstance(each, dict) and isinstance(each.get("digest"), str) for each in value["files"].values()
    )


def _is_flat(text: bytes, value: Any) -> bool:
    """Whether what is nested in it can be walked through: no manifest is as deep as Python's stack."""
    if text.count(b"{") + text.count(b"[") <= MOST_DEPTH:
        return True
    level, depth = [value], 0
    while level and depth <= MOST_DEPTH:
        depth += 1
        inside = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list)))
        level = [item for items in inside for item in items if isinstance(item, (dict, list))]
    return not level


def _read(name: str) -> bytes:
    """The bytes of a small file, in a third of the time that a file object takes: a pipeline may have a thousand."""
    file = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "is no file", name)
        parts = []
        while part := os.read(file, 1 << 14):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(file)

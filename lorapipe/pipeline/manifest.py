"""A result's manifest in the store, with a checksum: it is read exactly as written, or not at all.

It begins with the CRC-32 of the rest, so that a flipped bit cannot change a result. Manifests of earlier versions have
none.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from lorapipe.spec import JsonDocument, Param
from lorapipe.spec.paths import trouble

MANIFEST_VERSION: Literal[1] = 1
FAR = 1e15
"""Seconds; larger times are damage, not wrong clocks."""


class ResultFile(TypedDict):
    """A file of a result."""

    digest: Annotated[str, Param("SHA-256 of its bytes")]
    size: NotRequired[Annotated[int, Param("bytes")]]


class Origin(TypedDict):
    """The origin of a result: the pipeline's name, the stage's name and type, and when it began."""

    pipeline: str
    stage: str
    type: str
    started: float


class Manifest(TypedDict):
    """A result in the store: its origin, settings and files."""

    version: Annotated[Literal[1], Param("version of the manifest's format")]
    key: Annotated[str, Param("the content key: a digest of the stage's settings and inputs")]
    pipeline: Annotated[str, Param("the pipeline that was run")]
    stage: Annotated[str, Param("the stage's name there")]
    type: Annotated[str, Param("what the stage does: prepare, train, evaluate, export")]
    started: Annotated[float, Param("when it began, in seconds since 1970", gt=-FAR, lt=FAR)]
    finished: Annotated[float, Param("when it ended, in seconds since 1970", gt=-FAR, lt=FAR)]
    settings: Annotated[dict[str, Any], Param("every setting, inputs by their digests")]
    sources: Annotated[
        dict[str, dict[str, str]], Param("folders that are inputs, by digest: path → digest of each file")
    ]
    artifact: Annotated[dict[str, Any], Param("the stage's artifact, for the stages that use it")]
    files: Annotated[dict[str, ResultFile], Param("the files of the result, by their path relative to the manifest")]
    crc32: NotRequired[Annotated[str, Param("checksum of the rest of the file")]]


DOCUMENT = JsonDocument("manifest", Manifest, cure="The stage is run again.")
CHECKED = b'{"crc32": "'
"""The beginning of a manifest with a checksum; eight digits and `",` follow."""
BODY = len(CHECKED) + 10
MOST_DEPTH = 100


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest as readable JSON with its checksum."""
    body = json.dumps(manifest, ensure_ascii=False, indent=1)[1:]
    return f'{CHECKED.decode()}{zlib.crc32(body.encode()):08x}",{body}'


def read_manifest(name: str) -> Manifest | None:
    """Read a manifest; None if it is missing or damaged."""
    try:
        text = _read(name)
        if text.startswith(CHECKED) and int(text[len(CHECKED) : BODY - 2], 16) != zlib.crc32(text[BODY:]):
            return None
        manifest: Manifest = json.loads(text)
        return manifest if DOCUMENT.fits(manifest) and _is_flat(text, manifest) else None
    except (OSError, ValueError, RecursionError, MemoryError):
        return None


def manifest_damage(name: str) -> str:
    """Say what is wrong with a manifest, and in which field; "" if it is valid."""
    try:
        value = json.loads(_read(name))
        problems = [] if DOCUMENT.fits(value) else DOCUMENT.problems(value, "")
    except FileNotFoundError:
        return "it is missing"
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return f"it cannot be read: {trouble(error)}"
    if problems:
        return f"{problems[0].where}: {problems[0].what}".removeprefix(": ").rstrip(".")
    return "" if read_manifest(name) else "its bytes are not those that were written"


def _is_flat(text: bytes, value: object) -> bool:
    """Whether it is nested so little that recursive functions can walk it."""
    if text.count(b"{") + text.count(b"[") <= MOST_DEPTH:
        return True
    level, depth = [value], 0
    while level and depth <= MOST_DEPTH:
        depth += 1
        inside = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list)))
        level = [item for items in inside for item in items if isinstance(item, (dict, list))]
    return not level


def _read(name: str) -> bytes:
    """Read a small file in a third of the time that a file object takes, since a pipeline may have a thousand results."""
    file = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "is not a file", name)
        parts = []
        while part := os.read(file, 1 << 14):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(file)

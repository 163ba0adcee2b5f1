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
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from lorapipe.spec import JsonDocument, Param
from lorapipe.spec.paths import trouble

MANIFEST_VERSION: Literal[1] = 1
FAR = 1e15
"""Seconds: no clock, however wrong, is set so far away."""


class ResultFile(TypedDict):
    """A file of a result."""

    digest: Annotated[str, Param("SHA-256 of its bytes")]
    size: NotRequired[Annotated[int, Param("bytes")]]


class Origin(TypedDict):
    """Of what run a result is: the pipeline's name, the stage's name and type there, and when it began."""

    pipeline: str
    stage: str
    type: str
    started: float


class Manifest(TypedDict):
    """A result in the store: how it came about, and the files that it has."""

    version: Annotated[Literal[1], Param("of the manifest's form")]
    key: Annotated[str, Param("the content key: a digest of the stage's settings and of all that it was made from")]
    pipeline: Annotated[str, Param("the pipeline that was run")]
    stage: Annotated[str, Param("the stage's name there")]
    type: Annotated[str, Param("what the stage does: prepare, train, evaluate, export")]
    started: Annotated[float, Param("when it began, in seconds since 1970", gt=-FAR, lt=FAR)]
    finished: Annotated[float, Param("when it ended, in seconds since 1970", gt=-FAR, lt=FAR)]
    settings: Annotated[dict[str, Any], Param("every setting, inputs by their digests")]
    sources: Annotated[
        dict[str, dict[str, str]], Param("folders that are inputs, by digest: path → digest of each file")
    ]
    artifact: Annotated[dict[str, Any], Param("what the stage made, for the stages that come after it")]
    files: Annotated[dict[str, ResultFile], Param("every file of the result, by its path beside the manifest")]
    crc32: NotRequired[Annotated[str, Param("of all that follows it in the file")]]


DOCUMENT = JsonDocument("manifest", Manifest, cure="The stage is run again.")
CHECKED = b'{"crc32": "'
"""How a manifest with a checksum begins; eight digits and `",` follow."""
BODY = len(CHECKED) + 10
MOST_DEPTH = 100


def manifest_text(manifest: Manifest) -> str:
    """A manifest as it is written: JSON that a person can read."""
    body = json.dumps(manifest, ensure_ascii=False, indent=1)[1:]
    return f'{CHECKED.decode()}{zlib.crc32(body.encode()):08x}",{body}'


def read_manifest(name: str) -> Manifest | None:
    """A manifest as we write it; None where there is none, or something else."""
    try:
        text = _read(name)
        if text.startswith(CHECKED) and int(text[len(CHECKED) : BODY - 2], 16) != zlib.crc32(text[BODY:]):
            return None
        manifest: Manifest = json.loads(text)
        return manifest if DOCUMENT.fits(manifest) and _is_flat(text, manifest) else None
    except (OSError, ValueError, RecursionError, MemoryError):
        return None


def manifest_damage(name: str) -> str:
    """Say what is wrong with a file that should be a manifest: the field, where it is one; "" where it is right."""
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

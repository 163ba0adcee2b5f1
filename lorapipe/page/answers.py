"""Responses of a page's server, without HTTP: bodies, kinds, policies."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
PAGE = "text/html; charset=utf-8"
PICTURE = "image/jpeg"
OURS = {
    ".html": PAGE,
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": JSON,
}

OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Answer:
    """A response; `tag` identifies its content (ETag), so that a browser that has it does not get it again.

    A `lasting` answer is the same for ever under its address.
    """

    body: bytes
    kind: str = JSON
    status: int = 200
    tag: str = ""
    policy: str = OWN_POLICY
    lasting: bool = False


NOT_THERE = Answer(b"There is nothing here.", TEXT, 404)


def told(value: object, status: int = 200, tag: str = "") -> Answer:
    """Return a value as JSON; NaN and infinity, which browsers refuse, become null."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), allow_nan=False)
    return Answer(text.encode("ascii"), JSON, status, tag)


def tag_of(*parts: object) -> str:
    """Return an ETag of what an answer depends on."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value

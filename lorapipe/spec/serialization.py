"""Convert specs to JSON types: for documents, content keys, digests and messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from lorapipe.spec.base import Spec, Value
from lorapipe.spec.fields import Knob, knobs

PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types that need no conversion and contain no reference; most knobs have one of these."""
SHOWN, SHOWN_ITEMS = 70, 8
"""Most characters and entries of a value in a message."""


def to_dict(spec: Spec) -> dict[str, Any]:
    """Return the document form of a spec, the inverse of `from_dict`."""
    fields = {knob.name: plain(getattr(spec, knob.name)) for knob in knobs(type(spec))}
    return fields if spec.registry is None else {spec.tag: spec.name, **fields}


def content(spec: Spec, digest: Callable[[Value], object], *, defaults: bool = False) -> dict[str, Any]:
    """Return a spec's part of a content key: the knobs with `content=True` that differ from their default.

    So keys stay the same when a later release adds a knob or renames one: knobs and implementations have their first names
    here. `digest` replaces a value, such as a source by the digest of its bytes. With `defaults`, knobs at their default
    are included too, for comparisons by a person.
    """
    chosen = {}
    for knob in knobs(type(spec)):
        value = getattr(spec, knob.name)
        if knob.param.content and (defaults or not _has_default_result(knob, value)):
            chosen[knob.key] = plain(value, digest, defaults)
    return chosen if spec.registry is None else {spec.tag: spec.key_name, **chosen}


def _has_default_result(knob: Knob, value: object) -> bool:
    return value in knob.param.same_result or bool(value == knob.default())


def plain(value: Any, digest: Callable[[Value], object] | None = None, defaults: bool = False) -> Any:
    """Return a knob's value as JSON types; with `digest`, its form in a content key (see `content`)."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Spec):
        return to_dict(value) if digest is None else content(value, digest, defaults=defaults)
    if isinstance(value, Value):
        return value.plain() if digest is None else digest(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {key: plain(item, digest, defaults) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, digest, defaults) for item in value]
    return value


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical(plain: object) -> bytes:
    """Return the canonical JSON text of a plain value, for digests."""
    return _canonical(plain).encode()


def show(plain: object) -> str:
    """Return a document's value as it is written, shortened."""
    text = json.dumps(_some(plain), ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(plain: object) -> object:
    """Return the beginning of a value."""
    if isinstance(plain, str):
        return plain[:SHOWN]
    if isinstance(plain, (list, tuple)):
        return [_some(item) for item in plain[:SHOWN_ITEMS]]
    if isinstance(plain, dict):
        return {str(key)[:SHOWN]: _some(item) for key, item in islice(plain.items(), SHOWN_ITEMS)}
    return plain

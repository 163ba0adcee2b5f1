"""Specs → JSON types: the document form, the content of a key, the text for a digest, the text for a message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from lorapipe.spec.base import Spec, Value
from lorapipe.spec.fields import knobs

PLAIN = frozenset({str, int, float, bool, type(None)})
"""Most knobs hold one of these: they are their own document form, and hold no reference to anything."""
SHOWN, SHOWN_ITEMS = 70, 8
"""Letters and entries of a value that a message may show."""


def to_dict(spec: Spec) -> dict[str, Any]:
    """The document form of a spec; `from_dict` of it gives the spec again."""
    fields = {knob.name: plain(getattr(spec, knob.name)) for knob in knobs(type(spec))}
    return fields if spec.registry is None else {spec.tag: spec.name, **fields}


def content(spec: Spec, digest: Callable[[Value], object], *, defaults: bool = False) -> dict[str, Any]:
    """What a content key is made of: the knobs that differ from their default and are declared `content=True`.

    So a knob added by a later release voids no key; nor does a new name, since knobs and implementations go by the first
    that they had. `digest` gives what stands for a value: a source by the digest of its bytes, for one. With `defaults`, the
    knobs left at their default too: what a person compares.
    """
    chosen = {}
    for knob in knobs(type(spec)):
        value = getattr(spec, knob.name)
        if knob.param.content and (defaults or value != knob.default()):
            chosen[knob.key] = plain(value, digest, defaults)
    return chosen if spec.registry is None else {spec.tag: spec.key_name, **chosen}


def plain(value: Any, digest: Callable[[Value], object] | None = None, defaults: bool = False) -> Any:
    """A knob's value as JSON types; with `digest`, as it enters a content key (see `content`)."""
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
    """The one JSON text of a plain value, for digests."""
    return _canonical(plain).encode()


def show(plain: object) -> str:
    """A document's value as its author would write it, cut short."""
    text = json.dumps(_some(plain), ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(plain: object) -> object:
    """As much of a value as can be shown: its beginning."""
    if isinstance(plain, str):
        return plain[:SHOWN]
    if isinstance(plain, (list, tuple)):
        return [_some(item) for item in plain[:SHOWN_ITEMS]]
    if isinstance(plain, dict):
        return {str(key)[:SHOWN]: _some(item) for key, item in islice(plain.items(), SHOWN_ITEMS)}
    return plain

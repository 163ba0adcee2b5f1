"""What may be written for a knob, in words: type, range and default, as `lorapipe show` and ComfyUI's tooltips say it."""

from __future__ import annotations

import json

from lorapipe.spec.base import Param, registry_of
from lorapipe.spec.fields import Knob
from lorapipe.spec.serialization import plain
from lorapipe.spec.shapes import Shape, written

WORDS = {
    "any": "any",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "text": "text",
    "path": "path",
    "mapping": "mapping",
    "source": "path of an existing file or folder",
    "destination": "path",
}
"""Names of kinds of values in the text."""


def value_words(knob: Knob) -> str:
    """Return the values of a knob: type, range and default."""
    default = "required" if knob.required else f"default {_short(plain(knob.default()))}"
    return f"{type_words(knob.shape)}{limits_words(knob.param)}; {default}"


def type_words(shape: Shape) -> str:
    """Return the values that a user may write for a type."""
    return f"{_kind_words(shape)}, or null" if shape.optional else _kind_words(shape)


def _kind_words(shape: Shape) -> str:
    match shape.kind:
        case "choice":
            return " | ".join(map(written, shape.choices))
        case "list":
            return f"list of {type_words(shape.item)}"
        case "contract":
            registry = registry_of(shape.spec)
            return f"{registry.kind} ({', '.join(registry.names())})"
        case "spec":
            return shape.spec.__name__.lower()
        case "reference":
            name = shape.value.__name__
            return f"${name.lower()}, a reference to a stage that makes a {name}"
        case "value":
            return shape.value.__name__.lower()
    return WORDS[shape.kind]


def limits_words(limits: Param) -> str:
    """Return a knob's range: `, ≥ 1 and ≤ 512`."""
    words = [
        f"{sign} {limit if isinstance(limit, int) else f'{limit:g}'}"
        for sign, limit in (("≥", limits.ge), (">", limits.gt), ("≤", limits.le), ("<", limits.lt))
        if limit is not None
    ]
    return f", {' and '.join(words)}" if words else ""


def _short(value: object) -> str:
    """Return a default on one line; a spec only by its tag."""
    if isinstance(value, dict) and value:
        return str(next(iter(value.values())))
    return json.dumps(value, ensure_ascii=False)

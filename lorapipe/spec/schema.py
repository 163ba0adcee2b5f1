"""Types → JSON Schema (draft-07), for editors."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

from lorapipe.limits import LARGEST_NUMBER
from lorapipe.spec.fields import Param, Spec, Value, knobs, plain


def json_schema(kind: Any, limits: Param | None = None) -> dict[str, Any]:
    """The draft-07 schema of a type. A contract becomes `if/then` branches over its tag, which editors explain well."""
    limits = limits or Param("")
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        return {"anyOf": [json_schema(inner[0], limits), {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(typing.get_args(kind))}
    if origin in (tuple, list):
        floor = {} if limits.min_items is None else {"minItems": limits.min_items}
        return {"type": "array", "items": json_schema(typing.get_args(kind)[0], limits), **floor}
    if origin is dict or kind is dict:
        value_kind = (typing.get_args(kind) or (str, Any))[1]
        return {"type": "object", "additionalProperties": json_schema(value_kind, limits)}
    if isinstance(kind, type) and issubclass(kind, Spec):
        return _union_schema(kind) if kind.registry is not None else spec_schema(kind)
    if isinstance(kind, type) and issubclass(kind, Value):
        return kind.schema()
    names = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}
    ends = {int: {"minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER}, Path: {"minLength": 1}}.get(kind, {})
    bounds = limits.bounds() if kind in (int, float) else {}
    if "exclusiveMinimum" in bounds or "exclusiveMaximum" in bounds:
        ends = {}
    return {} if kind is Any else {"type": names[kind], **ends, **bounds}


def spec_schema(cls: type[Spec], tag: str | None = None) -> dict[str, Any]:
    """The schema of one spec class; with `tag`, of one branch of a union, where the tag key is known too."""
    properties: dict[str, Any] = {} if tag is None else {tag: {}}
    for knob in knobs(cls):
        described = {"description": knob.param.told, **json_schema(knob.type, knob.param)}
        if not knob.required:
            described["default"] = plain(knob.default())
        properties[knob.name] = described
        for alias in knob.param.aliases:
            properties[alias] = {**described, "description": f"The old name of {knob.name}.", "deprecated": True}
    required = [knob.name for knob in knobs(cls) if knob.required and not knob.param.aliases]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _union_schema(kind: type[Spec]) -> dict[str, Any]:
    registry = kind.registry
    assert registry is not None
    names = registry.names()
    branches = [
        {
            "if": {"properties": {kind.tag: {"const": name}}, "required": [kind.tag]},
            "then": spec_schema(registry.get(name), kind.tag),
        }
        for name in names
    ]
    described = {"enum": names, "description": (kind.__doc__ or "").partition("\n")[0]}
    tagged = {"type": "object", "properties": {kind.tag: described}, "required": [kind.tag], "allOf": branches}
    return {"anyOf": [{"enum": names}, tagged]}

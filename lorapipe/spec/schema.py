"""Types → JSON Schema (draft-07), for editors."""

from __future__ import annotations

from lorapipe.limits import LARGEST_NUMBER
from lorapipe.spec.base import JsonObject, Param, Spec
from lorapipe.spec.fields import knobs
from lorapipe.spec.serialization import plain
from lorapipe.spec.shapes import Shape, shape_of


def json_schema(kind: type, limits: Param | None = None) -> JsonObject:
    """Return the draft-07 schema of a type.

    A contract becomes `if/then` branches over its tag, which editors explain well.
    """
    return _shape_schema(shape_of(kind), limits or Param(""))


def _shape_schema(shape: Shape, limits: Param) -> JsonObject:
    schema = _schema_of_kind(shape, limits)
    return {"anyOf": [schema, {"type": "null"}]} if shape.optional else schema


def _schema_of_kind(shape: Shape, limits: Param) -> JsonObject:
    match shape.kind:
        case "any":
            return {}
        case "boolean":
            return {"type": "boolean"}
        case "integer" | "number":
            return {"type": shape.kind, **_bounds(shape.kind, limits)}
        case "text":
            return {"type": "string"}
        case "path":
            return {"type": "string", "minLength": 1}
        case "choice":
            return {"enum": list(shape.choices)}
        case "list":
            floor = {} if limits.min_items is None else {"minItems": limits.min_items}
            return {"type": "array", "items": _shape_schema(shape.item, limits), **floor}
        case "mapping":
            return {"type": "object", "additionalProperties": _shape_schema(shape.item, limits)}
        case "spec":
            return spec_schema(shape.spec)
        case "contract":
            return _contract_schema(shape.spec)
    return shape.value.schema()


def _bounds(kind: str, limits: Param) -> JsonObject:
    """Return a knob's limits; whole numbers without any have those of all numbers."""
    bounds = limits.bounds()
    if kind == "number" or "exclusiveMinimum" in bounds or "exclusiveMaximum" in bounds:
        return dict(bounds)
    return {"minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER, **bounds}


def spec_schema(cls: type[Spec], tag: str | None = None) -> JsonObject:
    """Return the schema of one spec class; with `tag`, of one branch of a union, where the tag key is known too."""
    properties: JsonObject = {} if tag is None else {tag: {}}
    for knob in knobs(cls):
        described = {"description": knob.param.told, **_shape_schema(knob.shape, knob.param)}
        if not knob.required:
            described["default"] = plain(knob.default())
        properties[knob.name] = described
        for alias in knob.param.aliases:
            properties[alias] = {**described, "description": f"The old name of {knob.name}.", "deprecated": True}
    required = [knob.name for knob in knobs(cls) if knob.required and not knob.param.aliases]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _contract_schema(contract: type[Spec]) -> JsonObject:
    registry = contract.registry
    assert registry is not None
    names = registry.names()
    branches = [
        {
            "if": {"properties": {contract.tag: {"const": name}}, "required": [contract.tag]},
            "then": spec_schema(registry.get(name), contract.tag),
        }
        for name in names
    ]
    described = {"enum": names, "description": (contract.__doc__ or "").partition("\n")[0]}
    tagged = {"type": "object", "properties": {contract.tag: described}, "required": [contract.tag], "allOf": branches}
    return {"anyOf": [{"enum": names}, tagged]}

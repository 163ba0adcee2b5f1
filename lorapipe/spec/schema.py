"""Types → JSON Schema (draft-07), for editors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from lorapipe.limits import LARGEST_NUMBER
from lorapipe.spec.base import JsonObject, Param, Spec, registry_of
from lorapipe.spec.fields import knobs
from lorapipe.spec.serialization import plain
from lorapipe.spec.shapes import Shape, shape_of

DEFINITIONS = "definitions"
"""The keyword of a draft-07 schema for shared definitions."""


def json_schema(kind: type) -> JsonObject:
    """Return the draft-07 schema of a type, with the definitions that it refers to."""
    writer, shape = SchemaWriter(), shape_of(kind)
    forms = writer.settings(shape.spec) if shape.kind == "spec" else writer.forms(shape)
    schema = joined(forms, writer.requirements(shape))
    return {**schema, DEFINITIONS: writer.definitions} if writer.definitions else schema


def reference(name: str, keyword: str = DEFINITIONS) -> JsonObject:
    """Return a reference to a definition."""
    return {"$ref": f"#/{keyword}/{name}"}


def joined(*schemas: JsonObject) -> JsonObject:
    """Return a schema that requires all of these; empty ones are dropped."""
    [first, *rest] = [each for each in schemas if each] or [{}]
    if "$ref" in first:  # draft-07 ignores all keywords beside it
        return {"allOf": [first, *rest]}
    return {**first, "allOf": rest} if rest else first


def any_of(schema: JsonObject, other: JsonObject) -> JsonObject:
    """Return a schema that allows either of two."""
    return {"anyOf": [*(schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]), other]}


def schema_text(schema: JsonObject) -> str:
    """Return the text of a schema's file."""
    return json.dumps(schema, ensure_ascii=False, indent=1) + "\n"


class SchemaWriter:
    """Writes schemas with shared definitions: each contract, implementation, group of settings and value type once.

    Allowed forms (`forms`) and required keys (`requirements`) are separate schemas: a document that extends another one
    has the same forms but no required keys. A contract becomes `if/then` branches over its tag, which editors explain
    well. `instead` is a schema that is allowed in place of any setting, such as a variable.
    """

    keyword = DEFINITIONS

    def __init__(self, instead: JsonObject | None = None) -> None:
        self.definitions: dict[str, JsonObject] = {}
        self._instead = instead

    def forms(self, shape: Shape, limits: Param | None = None) -> JsonObject:
        """Return the schema of a type's allowed forms, complete or partial."""
        schema = self._of_kind(shape, limits or Param(""))
        return any_of(schema, {"type": "null"}) if shape.optional else schema

    def _of_kind(self, shape: Shape, limits: Param) -> JsonObject:
        match shape.kind:
            case "list":
                floor = {} if limits.min_items is None else {"minItems": limits.min_items}
                schema = {"type": "array", "items": self.or_instead(self.forms(shape.item, limits)), **floor}
                return any_of(schema, {"enum": [limits.word]}) if limits.word else schema
            case "mapping":
                return {"type": "object", "additionalProperties": self.forms(shape.item, limits)}
            case "spec":
                return self.defined(shape.spec.__name__, lambda: self.settings(shape.spec))
            case "contract":
                return self.defined(registry_of(shape.spec).kind, lambda: self._implementations(shape.spec))
            case "value":
                return self.defined(shape.value.__name__, shape.value.schema)
            case "source" | "destination" | "reference":
                return shape.value.schema()
        return scalar_schema(shape, limits)

    def defined(self, name: str, write: Callable[[], JsonObject]) -> JsonObject:
        """Return a reference to the definition of that name; write the definition if it is missing."""
        if name not in self.definitions:
            self.definitions[name] = {}  # reserves its position before those it refers to
            self.definitions[name] = write()
        return reference(name, self.keyword)

    def or_instead(self, schema: JsonObject) -> JsonObject:
        """Return a setting's schema or `instead`, which text without a pattern includes already."""
        if self._instead is None or not schema or (schema.get("type") == "string" and "pattern" not in schema):
            return joined(schema)
        return any_of(schema, self._instead)

    def settings(self, cls: type[Spec], **others: JsonObject) -> JsonObject:
        """Return the schema of a spec's settings, together with `others`."""
        properties = {**others, **dict(self._properties(cls))}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def _properties(self, cls: type[Spec]) -> Iterator[tuple[str, JsonObject]]:
        for knob in knobs(cls):
            schema = self.or_instead(self.forms(knob.shape, knob.param))
            if knob.param.rest:
                schema = any_of(schema, {"type": "array", "items": schema, "minItems": 1})
            default = {} if knob.required else {"default": plain(knob.default())}
            yield knob.name, {"description": knob.param.told, **schema, **default}
            for alias in knob.param.aliases:
                old = {"description": f"The old name of {knob.name}.", "deprecated": True}
                yield alias, {**old, **schema, **default}

    def _implementations(self, contract: type[Spec]) -> JsonObject:
        registry = registry_of(contract)
        names = registry.names()
        tag = {"description": (contract.__doc__ or "").partition("\n")[0], **self.or_instead({"enum": names})}
        branches = [{"if": _chosen(contract, name), "then": self._implementation(contract, name)} for name in names]
        tagged = {"type": "object", "properties": {contract.tag: tag}, "allOf": branches}
        return {"anyOf": [{"enum": names}, tagged]}

    def _implementation(self, contract: type[Spec], name: str) -> JsonObject:
        cls = registry_of(contract).get(name)
        return self.defined(f"{registry_of(contract).kind}.{name}", lambda: self.settings(cls, **{contract.tag: {}}))

    # -------------------------------------------------------------------------------------------------- required keys

    def requirements(self, shape: Shape) -> JsonObject:
        """Return the schema of a type's required keys; empty if there are none."""
        match shape.kind:
            case "list":
                return _within("items", self.requirements(shape.item))
            case "mapping":
                return _within("additionalProperties", self.requirements(shape.item))
            case "spec":
                return self.required_settings(shape.spec)
            case "contract":
                return self._required_of(shape.spec)
        return {}

    def required_settings(self, cls: type[Spec]) -> JsonObject:
        """Return the schema of a spec's required settings, and of those within them."""
        required = [knob.name for knob in knobs(cls) if knob.required and not knob.param.aliases]
        inner = {
            name: schema
            for knob in knobs(cls)
            if (schema := self.requirements(knob.shape))
            for name in (knob.name, *knob.param.aliases)
        }
        return {**_within("required", required), **_within("properties", inner)}

    def _required_of(self, contract: type[Spec]) -> JsonObject:
        registry = registry_of(contract)
        schemas = {name: self.required_settings(registry.get(name)) for name in registry.names()}
        branches = [{"if": _chosen(contract, name), "then": schema} for name, schema in schemas.items() if schema]
        schema = {"required": [contract.tag], **_within("allOf", branches)}
        return self.defined(f"{registry.kind}.required", lambda: schema) if branches else schema


def scalar_schema(shape: Shape, limits: Param) -> JsonObject:
    """Return the schema of a number, text, boolean or choice within a knob's limits."""
    match shape.kind:
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
    return {}


def _bounds(kind: str, limits: Param) -> JsonObject:
    """Return a knob's limits; whole numbers without limits get those of all numbers."""
    bounds = limits.bounds()
    if kind == "number" or "exclusiveMinimum" in bounds or "exclusiveMaximum" in bounds:
        return dict(bounds)
    return {"minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER, **bounds}


def _chosen(contract: type[Spec], name: str) -> JsonObject:
    """Return the schema of documents that name this implementation."""
    return {"properties": {contract.tag: {"const": name}}, "required": [contract.tag]}


def _within(keyword: str, inner: object) -> JsonObject:
    return {keyword: inner} if inner else {}

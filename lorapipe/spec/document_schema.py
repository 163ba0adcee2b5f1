"""JSON documents → JSON Schema (draft 2020-12), for programs and people that read or edit the files."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from lorapipe.spec.base import JsonObject, Param
from lorapipe.spec.records import RecordField, record_fields
from lorapipe.spec.schema import SchemaWriter, scalar_schema
from lorapipe.spec.shapes import Shape, shape_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document_schema(name: str, record: type, tag: str, variants: Mapping[str, type]) -> JsonObject:
    """Return the schema of a kind of JSON file; the arguments are the fields of `JsonDocument`."""
    writer = _RecordWriter()
    body = writer.body(record)
    if variants:
        branches = [
            {
                "if": {"properties": {tag: {"const": value}}, "required": [tag]},
                "then": writer.forms(shape_of(kind)),
            }
            for value, kind in variants.items()
        ]
        body["properties"][tag] |= {"enum": [*variants]}
        body["allOf"] = branches
    definitions = {writer.keyword: writer.definitions} if writer.definitions else {}
    return {"$schema": DIALECT, "title": f"lorapipe: {name}", **body, **definitions}


class _RecordWriter(SchemaWriter):
    """Writes the schemas of records, in draft 2020-12."""

    keyword = "$defs"

    def _of_kind(self, shape: Shape, limits: Param) -> JsonObject:
        match shape.kind:
            case "record":
                return self.defined(shape.record.__name__, lambda: self.body(shape.record))
            case "integer" | "number":
                return {"type": shape.kind, **limits.bounds()}
            case "text" | "boolean" | "choice":
                return scalar_schema(shape, limits)
        return super()._of_kind(shape, limits)

    def or_instead(self, schema: JsonObject) -> JsonObject:
        """Return the schema unchanged: this draft allows keywords beside `$ref`."""
        return schema

    def body(self, record: type) -> JsonObject:
        """Return the schema of a record."""
        fields = list(record_fields(record))
        properties = {
            each.name: {**({"description": each.param.told} if each.param.help else {}), **self._field(each)}
            for each in fields
        }
        required = [each.name for each in fields if each.required]
        about = inspect.cleandoc(record.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        return {"description": about, "type": "object", "properties": properties, "required": required}

    def _field(self, each: RecordField) -> JsonObject:
        return self.forms(each.shape, each.param)

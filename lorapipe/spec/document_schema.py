"""JSON documents → JSON Schema (draft 2020-12), for whoever reads or edits the files."""

from __future__ import annotations

import inspect

from lorapipe.spec.base import JsonObject, Param
from lorapipe.spec.documents import JsonDocument, RecordField, record_fields
from lorapipe.spec.schema import SchemaWriter, scalar_schema
from lorapipe.spec.shapes import Shape, shape_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document_schema(document: JsonDocument) -> JsonObject:
    """Return the schema of a kind of JSON file."""
    writer = _RecordWriter()
    body = writer.body(document.record)
    if document.variants:
        tag = document.tag
        branches = [
            {
                "if": {"properties": {tag: {"const": name}}, "required": [tag]},
                "then": writer.forms(shape_of(kind)),
            }
            for name, kind in document.variants.items()
        ]
        body["properties"][tag] |= {"enum": [*document.variants]}
        body["allOf"] = branches
    definitions = {writer.keyword: writer.definitions} if writer.definitions else {}
    return {"$schema": DIALECT, "title": f"lorapipe: {document.name}", **body, **definitions}


class _RecordWriter(SchemaWriter):
    """Writes the schemas of records, in the words of draft 2020-12."""

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
        """Return the schema as it is: beside a reference, this draft sees all."""
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

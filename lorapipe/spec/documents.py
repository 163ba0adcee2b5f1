"""JSON files that other programs read and people may edit: their published schemas, and their validation.

A `TypedDict` or dataclass describes a file once; its fields are `Annotated[type, Param("help", ge=…)]` where the type
alone is not enough. The JSON Schema (draft 2020-12) in `schemas/` is generated from it, as are a quick check for readers
of a thousand files (`fits`) and readable problems, each with its field (`problems`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lorapipe.errors import InputError, Problem
from lorapipe.spec.base import JsonObject, Param
from lorapipe.spec.records import record_fields
from lorapipe.spec.shapes import Shape

Check = Callable[[object], bool]


@dataclass(frozen=True)
class JsonDocument:
    """A kind of JSON file, or of lines in one; its schema is `schemas/NAME.schema.json`.

    `record` describes its fields. If the file has variants, the field `tag` names the variant: `variants` describes each,
    and `record` the common fields. `cure` tells users what to do about a damaged file.
    """

    name: str
    record: type
    cure: str
    tag: str = ""
    variants: Mapping[str, type] = field(default_factory=dict)

    def text(self) -> str:
        """Return the text of the schema's file."""
        from lorapipe.spec.schema import schema_text  # here, as `fits` does not need it

        return schema_text(self.schema())

    def schema(self) -> JsonObject:
        """Return the JSON Schema. Unknown fields are allowed: a later version may have added them."""
        from lorapipe.spec.document_schema import document_schema

        return document_schema(self.name, self.record, self.tag, self.variants)

    def fits(self, value: object) -> bool:
        """Whether a value is a valid document: the same test as by the schema, in a fraction of the time."""
        if not self._check(value):
            return False
        if not self.variants:
            return True
        assert isinstance(value, dict)
        check = self._variant_checks.get(value[self.tag])
        return check is not None and check(value)

    def problems(self, value: object, where: str) -> list[Problem]:
        """Return the problems of a value by the schema, each with its field."""
        from lorapipe.spec.validation import schema_problems

        return schema_problems(value, self.schema(), where, self.cure)

    def require(self, value: object, where: str) -> None:
        """Raise `InputError` with all problems of a value that was read from the file `where`."""
        if problems := self.problems(value, where):
            raise InputError(problems)

    @cached_property
    def _check(self) -> Check:
        return _record_check(self.record)

    @cached_property
    def _variant_checks(self) -> dict[str, Check]:
        return {name: _record_check(kind) for name, kind in self.variants.items()}


def _record_check(record: type) -> Check:
    checks = [(each.name, each.required, _check(each.shape, each.param)) for each in record_fields(record)]

    def check(value: object) -> bool:
        if not isinstance(value, dict):
            return False
        for name, required, fits in checks:
            if name in value:
                if not fits(value[name]):
                    return False
            elif required:
                return False
        return True

    return check


def _check(shape: Shape, limits: Param) -> Check:
    """Return a function that checks whether a JSON value has this shape."""
    fits = _check_of_kind(shape, limits)
    return (lambda value: value is None or fits(value)) if shape.optional else fits


def _check_of_kind(shape: Shape, limits: Param) -> Check:
    match shape.kind:
        case "list":
            item = _check(shape.item, limits)
            return lambda value: isinstance(value, list) and all(map(item, value))
        case "mapping":
            return _mapping_check(shape.item, limits)
        case "record":
            return _record_check(shape.record)
        case "choice":
            return lambda value: any(value == each and type(value) is type(each) for each in shape.choices)
        case "integer" | "number":
            return _number_check(int if shape.kind == "integer" else (int, float), limits)
        case "boolean":
            return lambda value: isinstance(value, bool)
        case "any":
            return lambda value: True
    return lambda value: isinstance(value, str)


def _mapping_check(item: Shape, limits: Param) -> Check:
    if item.kind == "any":
        return lambda value: isinstance(value, dict)
    check = _check(item, limits)
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _number_check(kinds: type | tuple[type, ...], limits: Param) -> Check:
    def check(value: object) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool) and (free or _is_within(limits, value))

    free = not limits.bounds()
    return check


def _is_within(limits: Param, value: Any) -> bool:
    """Whether a number is in its range; NaN never is."""
    return (
        (limits.ge is None or value >= limits.ge)
        and (limits.gt is None or value > limits.gt)
        and (limits.le is None or value <= limits.le)
        and (limits.lt is None or value < limits.lt)
    )

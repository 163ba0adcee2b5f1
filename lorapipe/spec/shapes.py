"""Shapes: types of knobs, resolved once. Parsers, schemas, forms and help texts all branch on `Shape.kind`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union

from lorapipe.spec.base import Spec, Value, ValueKind

Scalar = str | int | float | bool
Kind = Literal[
    "any", "boolean", "integer", "number", "text", "path", "choice", "list", "mapping", "spec", "contract", "record"
]
"""`spec`: a group of settings. `contract`: one of several implementations, chosen by name. `record`: a JSON object."""
ABSENT: Any = None
"""The value of a field that does not apply to the shape's kind."""

SCALARS: dict[object, Kind] = {
    Any: "any",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
}


class Shape(NamedTuple):
    """A type, resolved.

    `optional` says that None is allowed too. `item` is the shape of a list's entries or a mapping's values, `choices`
    the literals of a choice, `spec` the class of a spec or contract, `value` that of a `Value`, `record` a `TypedDict` or
    other dataclass, which only JSON files have (see `documents`).
    """

    kind: Kind | ValueKind
    optional: bool = False
    item: Shape = ABSENT
    choices: tuple[Scalar, ...] = ()
    spec: type[Spec] = ABSENT
    value: type[Value] = ABSENT
    record: type = ABSENT

    @property
    def group(self) -> type[Spec] | None:
        """The spec of a group of settings; None for other shapes."""
        return self.spec if self.kind == "spec" else None

    def specs(self) -> Iterator[type[Spec]]:
        """Yield the spec classes and contracts of the shape and of its items."""
        if self.spec is not ABSENT:
            yield self.spec
        if self.item is not ABSENT:
            yield from self.item.specs()


def written(choice: object) -> str:
    """Return a choice as a document has it."""
    return str(choice).lower() if isinstance(choice, bool) else str(choice)


def shape_of(kind: object) -> Shape:
    """Return the shape of a type. A union may only add None: a type with several forms must be a `Value`."""
    scalar = SCALARS.get(kind)
    shape = Shape(scalar) if scalar else _of_class(kind) if isinstance(kind, type) else None
    shape = shape or _of_generic(typing.get_origin(kind) or kind, typing.get_args(kind))
    if shape is None:
        raise TypeError(f"{kind} is no type that a document can hold")
    return shape


def _of_class(kind: type) -> Shape | None:
    if issubclass(kind, Spec):
        return Shape("spec" if kind.registry is None else "contract", spec=kind)
    if issubclass(kind, Value):
        return Shape(kind.value_kind, value=kind)
    return Shape("record", record=kind) if typing.is_typeddict(kind) or dataclasses.is_dataclass(kind) else None


def _of_generic(origin: object, arguments: tuple[Any, ...]) -> Shape | None:
    if origin in (Union, types.UnionType):
        [inner] = [each for each in arguments if each is not type(None)]
        return shape_of(inner)._replace(optional=True)
    if origin is Literal:
        return Shape("choice", choices=arguments)
    if origin in (tuple, list):
        return Shape("list", item=shape_of(arguments[0]))
    if origin is dict:
        return Shape("mapping", item=shape_of(arguments[1]) if arguments else Shape("any"))
    return None

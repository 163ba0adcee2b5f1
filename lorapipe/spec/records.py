"""The fields of a record: of a `TypedDict` or a dataclass that describes a JSON object."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Annotated, NamedTuple, NotRequired

from lorapipe.spec.base import Param
from lorapipe.spec.shapes import Shape, shape_of


class RecordField(NamedTuple):
    """A field of a record: its shape, its declaration, and whether it is required."""

    name: str
    shape: Shape
    param: Param
    required: bool


def record_fields(record: type) -> Iterator[RecordField]:
    """Yield the fields of a `TypedDict` or dataclass; dataclass fields with a default are optional."""
    defaults = set()
    if dataclasses.is_dataclass(record):
        nothing = dataclasses.MISSING
        fields = dataclasses.fields(record)
        defaults = {each.name for each in fields if (each.default, each.default_factory) != (nothing, nothing)}
    for name, hint in typing.get_type_hints(record, include_extras=True).items():
        required, param, kind = name not in defaults, Param(""), hint
        while (origin := typing.get_origin(kind)) in (NotRequired, Annotated):
            if origin is Annotated:
                param = next((each for each in kind.__metadata__ if isinstance(each, Param)), param)
            else:
                required = False
            kind = typing.get_args(kind)[0]
        yield RecordField(name, shape_of(kind), param, required)

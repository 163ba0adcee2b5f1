"""The knobs of a spec class, with their types and defaults."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lorapipe.spec.base import REQUIRED, Param, Spec
from lorapipe.spec.shapes import Shape, shape_of


@dataclass(frozen=True)
class Knob:
    """One field of a spec, resolved: its name, type, default and declaration."""

    name: str
    type: object
    field: dataclasses.Field[Any]
    param: Param

    @property
    def key(self) -> str:
        """The knob's name in content keys: its first name."""
        return self.param.key or self.name

    @cached_property
    def shape(self) -> Shape:
        """The knob's type, resolved for parsers, schemas and forms."""
        return shape_of(self.type)

    @cached_property
    def required(self) -> bool:
        """Whether a document must set it."""
        return self.field.default is REQUIRED and self.field.default_factory is REQUIRED

    def default(self) -> Any:
        """Return the default value; REQUIRED if there is none."""
        factory = self.field.default_factory
        return factory() if callable(factory) else self.field.default


_knobs: dict[type[Spec], tuple[Knob, ...]] = {}
_by_name: dict[type[Spec], dict[str, Knob]] = {}
_old_names: dict[type[Spec], dict[str, str]] = {}


def knobs(cls: type[Spec]) -> tuple[Knob, ...]:
    """Return the knobs of a spec class in the order of their declaration."""
    found = _knobs.get(cls)
    if found is None:
        hints = typing.get_type_hints(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # every spec that has knobs is a dataclass
        declared = [(field, field.metadata["param"]) for field in fields if "param" in field.metadata]
        found = tuple(Knob(field.name, hints[field.name], field, param) for field, param in declared)
        _knobs[cls] = found
    return found


def knobs_by_use(cls: type[Spec]) -> tuple[Knob, ...]:
    """Return the knobs in the order of forms and references: usual before rare ones, a class's own before its bases'."""

    def declared_in(knob: Knob) -> int:
        return next(place for place, each in enumerate(cls.__mro__) if knob.name in inspect.get_annotations(each))

    return tuple(sorted(knobs(cls), key=lambda knob: (knob.param.rare, declared_in(knob))))


def knobs_by_name(cls: type[Spec]) -> Mapping[str, Knob]:
    """Return the knobs of a spec class by name, in the order of their declaration."""
    found = _by_name.get(cls)
    if found is None:
        found = _by_name[cls] = {knob.name: knob for knob in knobs(cls)}
    return found


def old_names(cls: type[Spec]) -> Mapping[str, str]:
    """Map names of knobs in earlier releases to their present ones."""
    found = _old_names.get(cls)
    if found is None:
        found = {alias: knob.name for knob in knobs(cls) for alias in knob.param.aliases}
        _old_names[cls] = found
    return found

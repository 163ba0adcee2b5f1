"""`--set stage.knob=value`: override settings of a document on the command line."""

from __future__ import annotations

import copy
import typing
from typing import Any, NamedTuple

from lorapipe.errors import InputError, Problem, near_miss, shortened
from lorapipe.limits import MOST_LEVELS
from lorapipe.pipeline.addresses import address_in
from lorapipe.pipeline.yaml_document import parse
from lorapipe.spec import Address, Spec, knobs
from lorapipe.stages import Stage


def split(text: str) -> tuple[Address, object]:
    """Parse `penny.adapter.rank=8` to its address in the document and the value, which is YAML."""
    place, equals, value = text.partition("=")
    parts = place.strip().split(".")
    if not equals or not 2 <= len(parts) <= MOST_LEVELS or not all(parts):
        cure = "Write stage.knob=value or vars.name=value."
        raise InputError("is not a setting.", where=f"--set {shortened(text, 100)}", cure=cure)
    address = address_in(parts[0], ".".join(parts[1:]))
    return address, parse(value, f"--set {shortened(text, 100)}").value if value.strip() else None


def put(document: dict[str, Any], address: Address, value: object) -> Problem | None:
    """Set a value in a document, in place; a short form on the path (`optimizer: adamw`) is expanded first."""
    if len(address) > MOST_LEVELS:
        return Problem(f"is a setting more than {MOST_LEVELS} levels deep.", path=address[:3])
    if address[0] == "vars":
        return _put_variable(document, address, value)
    stages = document["stages"]
    if address[1] not in stages:
        return Problem(f"there is no stage {address[1]!r}.", cure=near_miss(str(address[1]), [*stages]), path=address)
    return _put_knob(stages, address[1], _Place(Stage), address[2:], value, address)


def _put_variable(document: dict[str, object], address: Address, value: object) -> Problem | None:
    values = document.get("vars")
    if len(address) != 2 or not isinstance(values, dict) or address[1] not in values:
        known = [*values] if isinstance(values, dict) else []
        name = ".".join(map(str, address[1:]))
        return Problem(f"there is no variable {name!r}.", cure=near_miss(name, known), path=address)
    values[address[1]] = value
    return None


class _Place(NamedTuple):
    """The knob at a position in the document: its type, and its default if it has one."""

    kind: object = None
    default: object = None

    @property
    def contract(self) -> type[Spec] | None:
        kinds = typing.get_args(self.kind) or (self.kind,)
        return next((k for k in kinds if isinstance(k, type) and issubclass(k, Spec)), None)


def _put_knob(holder: Any, key: Any, place: _Place, rest: Address, value: object, address: Address) -> Problem | None:
    """Descend from `holder[key]` along `rest`. A number is an index of a list, but in a mapping an ordinary name."""
    key = str(key) if isinstance(holder, dict) else key
    if not rest:
        holder[key] = value
        return None
    there = holder.get(key) if isinstance(holder, dict) else holder[key]
    inner = holder[key] = copy.copy(_expanded(there, place))  # a copy, since cells of a matrix share values
    if isinstance(inner, list):
        if not (isinstance(rest[0], int) and rest[0] < len(inner)):
            return Problem(f"the list has no entry {rest[0]}.", cure=f"It has {len(inner)}, from 0.", path=address)
    elif not isinstance(inner, dict):
        return Problem(f"{key} has no settings of its own.", cure="Set it as a whole.", path=address)
    return _put_knob(inner, rest[0], _inside(inner, place, rest[0]), rest[1:], value, address)


def _expanded(plain: object, place: _Place) -> object:
    """Expand `adamw` to `{type: adamw}`, and an empty value to the default in that form."""
    contract = place.contract
    if plain is None and isinstance(place.default, Spec) and place.default.registry is not None:
        plain = place.default.name
    if isinstance(plain, str) and contract is not None and contract.registry is not None:
        return {contract.tag: plain}
    return {} if plain is None else plain


def _inside(plain: object, place: _Place, name: object) -> _Place:
    """Return the knob `name` in the spec that `plain` describes; an empty `_Place` if unknown."""
    cls = place.contract
    if cls is None or not isinstance(plain, dict):
        return _Place()
    if cls.registry is not None:
        implementation = plain.get(cls.tag)
        if not isinstance(implementation, str) or implementation not in cls.registry:
            return _Place()
        cls = cls.registry.get(implementation)
    knob = next((knob for knob in knobs(cls) if knob.name == name), None)
    return _Place() if knob is None else _Place(knob.type, None if knob.required else knob.default())

"""Where a setting is that somebody has written in the wrong place, or by kohya's name."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from lorapipe.spec.fields import Spec, knobs


def suggestion(cls: type[Spec], name: str) -> str:
    """A cure for an unknown setting: what it is called here, or whose it is; empty where nobody has it."""
    here = list(dict.fromkeys(knob_paths(cls, name)))
    if len(here) == 1 and "." not in here[0]:
        return f"Here it is called {here[0]!r}."
    if here:
        return f"Here it is {' or '.join(here[:3])}."
    registry = cls.registry
    if registry is None:
        return ""
    others = {other: list(knob_paths(registry.get(other), name)) for other in registry.names()}
    for other, found in others.items():
        if found:
            return f"It is a setting of {registry.kind} {other}{'' if found[0] == name else f': {found[0]}'}."
    return ""


def knob_paths(cls: type[Spec], name: str) -> Iterator[str]:
    """The dotted paths of the knobs in and below a spec that have this name, or this flag of kohya's."""
    for knob in knobs(cls):
        if name == knob.name or name in knob.param.kohya:
            yield knob.name
        for inner in _below(knob.type):
            yield from (f"{knob.name}.{path}" for path in knob_paths(inner, name))


def _below(kind: Any) -> Iterator[type[Spec]]:
    """The specs that a knob of this type may hold."""
    if isinstance(kind, type) and issubclass(kind, Spec):
        yield from [kind] if kind.registry is None else map(kind.registry.get, kind.registry.names())
    for inner in typing.get_args(kind):
        yield from _below(inner)

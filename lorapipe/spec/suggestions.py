"""Cures for unknown settings: what a setting is called here, or where it belongs, also by its kohya flag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lorapipe.spec.base import Spec
from lorapipe.spec.fields import knobs

FEW = 3
"""Places that a cure names."""


def suggestion(cls: type[Spec], name: str) -> str:
    """Say what an unknown setting is called in this spec, or to which other implementation it belongs; "" if to none."""
    here = list(dict.fromkeys(knob_paths(cls, name)))
    if len(here) == 1 and "." not in here[0]:
        return f"Here it is called {here[0]!r}."
    if here:
        return f"Here it is {' or '.join(here[:FEW])}."
    registry = cls.registry
    if registry is None:
        return ""
    others = {other: list(knob_paths(registry.get(other), name)) for other in registry.names()}
    for other, found in others.items():
        if found:
            return f"It is a setting of {registry.kind} {other}{'' if found[0] == name else f': {found[0]}'}."
    return ""


def suggestion_further_out(around: Sequence[type[Spec]], name: str, at: Sequence[str | int]) -> str:
    """Say that a setting belongs to a spec around the one at `at`; `around` has the outermost first. "" if to none."""
    for outer in reversed(around):
        here = {knob.name for knob in knobs(outer)}
        if found := [path for path in dict.fromkeys(knob_paths(outer, name)) if path in here]:
            return f"It stands one level further out, beside {at[-1]}: {' or '.join(found[:FEW])}."
    return ""


def knob_paths(cls: type[Spec], name: str) -> Iterator[str]:
    """Yield the dotted paths of the knobs in and below a spec that have this name or this kohya flag."""
    for knob in knobs(cls):
        if name == knob.name or name in knob.param.kohya:
            yield knob.name
        for inner in _below(knob.shape.specs()):
            yield from (f"{knob.name}.{path}" for path in knob_paths(inner, name))


def _below(specs: Iterator[type[Spec]]) -> Iterator[type[Spec]]:
    """Yield the specs, every implementation in place of a contract."""
    for spec in specs:
        yield from [spec] if spec.registry is None else map(spec.registry.get, spec.registry.names())

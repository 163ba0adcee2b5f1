"""Cures for unknown settings: the name or place of the setting that is meant, also by its kohya flag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lorapipe.spec.base import Spec
from lorapipe.spec.fields import knobs

FEW = 3
"""Most settings that a cure names."""


def suggestion(cls: type[Spec], name: str) -> str:
    """Return a hint: the setting's name in this spec, or the other implementation that has it; "" if there is none."""
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
    """Return a hint that a spec around the one at `at` has the setting; "" if none has. `around`: outermost first."""
    for outer in reversed(around):
        here = {knob.name for knob in knobs(outer)}
        if found := [path for path in dict.fromkeys(knob_paths(outer, name)) if path in here]:
            return f"It belongs one level further out, beside {at[-1]}: {' or '.join(found[:FEW])}."
    return ""


def knob_paths(cls: type[Spec], name: str) -> Iterator[str]:
    """Yield the dotted paths of all knobs in and below a spec with this name or kohya flag."""
    for knob in knobs(cls):
        if name == knob.name or name in knob.param.kohya:
            yield knob.name
        for inner in _below(knob.shape.specs()):
            yield from (f"{knob.name}.{path}" for path in knob_paths(inner, name))


def _below(specs: Iterator[type[Spec]]) -> Iterator[type[Spec]]:
    """Yield the specs; a contract is replaced by its implementations."""
    for spec in specs:
        yield from [spec] if spec.registry is None else map(spec.registry.get, spec.registry.names())

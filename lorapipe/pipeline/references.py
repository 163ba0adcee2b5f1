"""References `$stage` in a stage's fields: the edges of the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from lorapipe.errors import Problem, near_miss, shortened
from lorapipe.pipeline.artifacts import Artifact, field_kind, fields_of_kind, inside
from lorapipe.spec import PLAIN, Ref, Source, Spec, knobs

S = TypeVar("S", bound=Spec)
FEW = 5
"""Most stages that a message proposes."""
MOST_IN_CYCLE = 12
"""Most stages of a cycle that a message names."""


def needs(spec: Spec) -> tuple[str, ...]:
    """Return the stages that a spec refers to, in the order of its fields."""
    found: dict[str, None] = {}

    def note(ref: Ref) -> Ref:
        found[ref.stage] = None
        return ref

    _replace(spec, note)
    return tuple(found)


def resolve(spec: S, artifacts: Mapping[str, Artifact]) -> S:
    """Return the spec with every reference replaced by its artifact."""
    resolved: S = _replace(spec, lambda ref: follow(ref, artifacts))
    return resolved


def inputs(spec: Spec) -> list[Artifact]:
    """Return the artifacts in the fields of a stage with resolved references, and all those inside them."""
    return [each for name in _may_refer(cast(Any, type(spec))) for each in inside(getattr(spec, name))]


def follow(ref: Ref, artifacts: Mapping[str, Artifact]) -> object:
    """Return the artifact that `$stage.field` refers to."""
    value: object = artifacts[ref.stage]
    for field in ref.fields:
        value = getattr(value, field)
    return value


def _replace(value: Any, put: Callable[[Ref], object]) -> Any:
    """Return a copy of a knob's value with `put(ref)` for every reference in it."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Ref):
        return put(value)
    if isinstance(value, Spec):
        return _replace_in_spec(value, put)
    if isinstance(value, tuple):
        new = tuple(_replace(item, put) for item in value)
        return value if all(a is b for a, b in zip(new, value, strict=True)) else new
    if isinstance(value, dict):
        return {key: _replace(item, put) for key, item in value.items()}
    return value


def _replace_in_spec(spec: Spec, put: Callable[[Ref], object]) -> Spec:
    fields = {name: getattr(spec, name) for name in _may_refer(cast(Any, type(spec)))}
    changed = {name: new for name, old in fields.items() if (new := _replace(old, put)) is not old}
    for name, new in changed.items():
        if (source := _sources(cast(Any, type(spec))).get(name)) is not None:
            several = isinstance(new, tuple)
            changed[name] = tuple(_as_source(each, source) for each in new) if several else _as_source(new, source)
    return dataclasses.replace(spec, **changed) if changed else spec  # type: ignore[type-var]


def _as_source(value: object, source: type[Source]) -> object:
    """Return an artifact as the file that it is, of the knob's type; anything else as it is."""
    path = value.as_source if isinstance(value, Artifact) else None
    return value if path is None else source(path)


@cache
def _sources(kind: Any) -> dict[str, type[Source]]:
    """Return the knobs that are files, or lists of files, for which an artifact may be given."""
    shapes = {knob.name: knob.shape.item if knob.shape.kind == "list" else knob.shape for knob in knobs(kind)}
    return {
        name: shape.value
        for name, shape in shapes.items()
        if shape.kind == "source" and issubclass(shape.value, Source)
    }


@cache
def _may_refer(kind: Any) -> tuple[str, ...]:
    """Return the knobs that may contain a reference: all except texts and numbers."""
    return tuple(knob.name for knob in knobs(kind) if knob.type not in PLAIN)


def check(
    ref: Ref, wanted: type[Artifact], makes: Mapping[str, type[Artifact] | None], but: str = ""
) -> Problem | None:
    """Return a problem if a reference does not give a `wanted` artifact, else None.

    `makes` has the artifact class of each stage, None if unknown; the stage `but` is not proposed.
    """
    if ref.stage not in makes:
        return Problem(f"there is no stage {shortened(ref.stage, 100)!r}.", cure=near_miss(ref.stage, [*makes]))
    kind = makes[ref.stage]
    if kind is None:
        return None
    head = f"${ref.stage}"
    for name in ref.fields:
        inner = field_kind(kind, name)
        if inner is None:
            known = fields_of_kind(kind, Artifact)
            cure = near_miss(name, known) if known else f"Write {head} alone."
            return Problem(f"{head} is a {kind.__name__} and has no artifact {shortened(name, 100)!r}.", cure=cure)
        kind, head = inner, f"{head}.{name}"
    if issubclass(kind, wanted):
        return None
    what = f"{head} is a {kind.__name__}, but a {wanted.__name__} is needed here."
    others = {stage: made for stage, made in makes.items() if stage != but and made is not None}
    return Problem(what, cure=_instead(head, kind, wanted, others))


def _instead(head: str, kind: type[Artifact], wanted: type[Artifact], makes: Mapping[str, type[Artifact]]) -> str:
    inside = [f"{head}.{name}" for name in fields_of_kind(kind, wanted)]
    makers = [f"${stage}" for stage, made in makes.items() if issubclass(made, wanted)]
    fitting = inside or makers
    return f"Did you mean {' or '.join(fitting[:FEW])}?" if fitting else f"No stage here makes a {wanted.__name__}."


def in_order(graph: Mapping[str, Iterable[str]]) -> tuple[list[str], list[str]]:
    """Return the stages in topological order, and, if the graph is cyclic, one cycle `[a, b, a]`."""
    order: dict[str, None] = {}
    for first in graph:
        trail = {first: iter(graph[first])} if first not in order else {}  # the path from `first` to the current stage
        while trail:
            name = next(reversed(trail))
            need = next((each for each in trail[name] if each in graph and each not in order), None)
            if need is None:
                order[name] = None
                del trail[name]
            elif need in trail:
                names = list(trail)
                return list(order), [*names[names.index(need) :], need]
            else:
                trail[need] = iter(graph[need])
    return list(order), []


def cycle_problem(cycle: Sequence[str]) -> Problem:
    """Return the problem of stages that depend on one another."""
    shown = cycle if len(cycle) <= MOST_IN_CYCLE else [*cycle[: MOST_IN_CYCLE - 1], "…", cycle[-1]]
    what = f"stages depend on one another in a cycle: {' -> '.join(shown)}."
    return Problem(what, cure="One of them must start from something else.", path=("stages", cycle[0]))

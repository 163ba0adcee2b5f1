"""The text of `lorapipe show`: the available choices and the meaning of each knob, generated from the specs."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from lorapipe import rules
from lorapipe.errors import InputError, near_miss
from lorapipe.pipeline import presets
from lorapipe.pipeline.contracts import contracts
from lorapipe.rules import Rule
from lorapipe.spec import Knob, Spec, knobs, knobs_by_use, registry_of
from lorapipe.spec.value_words import value_words

WIDTH = 100


def overview() -> str:
    """Return all kinds with their names."""
    rows = [(kind, "  ".join(registry_of(contract).names())) for kind, contract in contracts().items()]
    lines = [f"  {kind:<12} {names}" for kind, names in rows]
    lines.append(f"  {'preset':<12} {'  '.join(presets.names())}")
    lines.append(f"  {'rule':<12} {'  '.join(rules.names())}")
    return "\n".join([*lines, "", "`lorapipe show KIND NAME` explains one of them."])


def of_presets() -> str:
    """List all presets, a line each."""
    head = "preset: a pipeline that comes with lorapipe; extends: lorapipe:NAME builds on it."
    return _listing(head, [(name, presets.purpose_of(name)) for name in presets.names()])


def of_rules() -> str:
    """List all rules, a line each."""
    head = "rule: what check and plan look for in a training's settings; allow: [NAME] in the training silences one."
    return _listing(head, [(name, first_line(Rule.registry.get(name))) for name in rules.names()])


def of_rule(name: str) -> str:
    """Describe a rule: what it wants, why, and what to write."""
    rule = Rule.registry.get(name)
    texts = (inspect.getdoc(rule) or "", f"Why: {rule.why}", f"Instead: {rule.change}", f"Level: {rule.level}.")
    return "\n".join([f"rule {name}", *(line for text in texts for line in _wrapped(text, "  "))])


def of_kind(kind: str) -> str:
    """Describe a kind and list its names, a line each."""
    contract = _contract(kind)
    registry = registry_of(contract)
    rows = [(name, first_line(registry.get(name))) for name in registry.names()]
    return _listing(f"{kind}: {first_line(contract)}", rows)


def _listing(head: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return a heading, and a line for each name, aligned."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([head, "", *(f"  {name:<{width}}  {line}" for name, line in rows)])


def of_name(kind: str, name: str) -> str:
    """Describe an implementation and its knobs, with type, range, default and meaning."""
    contract = _contract(kind)
    cls = registry_of(contract).get(name)
    lines = [f"{kind} {name}", *_wrapped(inspect.getdoc(cls) or "", "  "), ""]
    makes: Any = getattr(cls, "makes", None)
    if makes is not None:
        lines += [f"  makes: {makes.__name__}", ""]
    return "\n".join([*lines, *_settings(cls, "  ")] if knobs(cls) else [*lines, "  It has no settings."])


def of_spec(title: str, cls: type[Spec]) -> str:
    """Describe a spec outside pipelines and its knobs."""
    return "\n".join([title, *_wrapped(inspect.getdoc(cls) or "", "  "), "", *_settings(cls, "  ")])


def _settings(cls: type[Spec], indent: str) -> Iterator[str]:
    """Yield lines about the knobs of a spec; those of a group are indented below its name."""
    for knob in knobs_by_use(cls):
        yield from setting(knob, indent)


def setting(knob: Knob, indent: str, name: str = "") -> Iterator[str]:
    """Yield lines about one knob, under `name` if that is given."""
    group = knob.shape.group
    own = "settings of its own, or null; default null:" if knob.shape.optional else "settings of its own:"
    words = own if group else value_words(knob)
    yield f"{indent}{name or knob.name}: {words}"
    yield from _wrapped(knob.param.told, f"{indent}    ")
    if group:
        yield from _settings(group, f"{indent}      ")


def first_line(cls: type) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _contract(kind: str) -> type[Spec]:
    known = contracts()
    if kind not in known:
        raise InputError(f"there is nothing called {kind!r} to choose.", cure=near_miss(kind, [*known]))
    return known[kind]


def _wrapped(text: str, indent: str) -> Iterator[str]:
    """Yield the lines of a text, each paragraph wrapped to `WIDTH`."""
    for place, paragraph in enumerate(text.split("\n\n")):
        yield from [""] if place else []
        yield from textwrap.wrap(paragraph, WIDTH, initial_indent=indent, subsequent_indent=indent)

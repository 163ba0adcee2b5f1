"""`lorapipe show`: what can be chosen, and what each knob means; all of it from the specs."""

from __future__ import annotations

import inspect
import json
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lorapipe.errors import InputError, near_miss
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.pipeline_schema import contracts, registry_of
from lorapipe.spec import Destination, Knob, Param, Source, Spec, knobs, plain

WIDTH = 100


def overview() -> str:
    """Every kind of thing and its names."""
    rows = [(kind, "  ".join(registry_of(contract).names())) for kind, contract in contracts().items()]
    lines = [f"  {kind:<12} {names}" for kind, names in rows]
    return "\n".join([*lines, "", "`lorapipe show KIND NAME` explains one of them."])


def of_kind(kind: str) -> str:
    """One kind: what it is, and its names with a line each."""
    contract = _contract(kind)
    registry = registry_of(contract)
    rows = [(name, first_line(registry.get(name))) for name in registry.names()]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([f"{kind}: {first_line(contract)}", "", *(f"  {name:<{width}}  {line}" for name, line in rows)])


def of_name(kind: str, name: str) -> str:
    """One implementation: its explanation, and its knobs with type, range, default and meaning."""
    contract = _contract(kind)
    cls = registry_of(contract).get(name)
    lines = [f"{kind} {name}", *_wrapped(inspect.getdoc(cls) or "", "  "), ""]
    makes: Any = getattr(cls, "makes", None)
    if makes is not None:
        lines += [f"  makes: {makes.__name__}", ""]
    return "\n".join([*lines, *_settings(cls, "  ")] if knobs(cls) else [*lines, "  It has no settings."])


def of_spec(title: str, cls: type[Spec]) -> str:
    """Settings that are no pipeline's: its explanation and its knobs."""
    return "\n".join([title, *_wrapped(inspect.getdoc(cls) or "", "  "), "", *_settings(cls, "  ")])


def _settings(cls: type[Spec], indent: str) -> Iterator[str]:
    """The knobs of a spec, those of a group of settings below its name."""
    for knob in knobs(cls):
        yield from setting(knob, indent)


def setting(knob: Knob, indent: str, name: str = "") -> Iterator[str]:
    """One knob, under another name if it is given."""
    group = group_in(knob.type)
    default = "required" if knob.required else f"default {_short(plain(knob.default()))}"
    own = "settings of its own:" if group is knob.type else "settings of its own, or null; default null:"
    words = own if group else f"{kind_words(knob.type)}{limits_words(knob.param)}; {default}"
    yield f"{indent}{name or knob.name}: {words}"
    yield from _wrapped(knob.param.told, f"{indent}    ")
    if group:
        yield from _settings(group, f"{indent}      ")


def group_in(kind: Any) -> type[Spec] | None:
    """The spec of a knob whose type is a mapping of settings without a name to choose, or nothing; None of others."""
    kinds = [each for each in typing.get_args(kind) if each is not type(None)] if is_optional(kind) else [kind]
    inner = kinds[0]
    return inner if isinstance(inner, type) and issubclass(inner, Spec) and inner.registry is None else None


def is_optional(kind: Any) -> bool:
    """Whether a knob's type is another one, or nothing."""
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def kind_words(kind: Any) -> str:
    """What a user may write for a type."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if is_optional(kind):
        return f"{kind_words(next(k for k in arguments if k is not type(None)))}, or null"
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (tuple, list):
        return f"list of {kind_words(arguments[0])}"
    if isinstance(kind, type) and issubclass(kind, Spec) and kind.registry is not None:
        return f"{kind.registry.kind} ({', '.join(kind.registry.names())})"
    if isinstance(kind, type) and issubclass(kind, Artifact):
        return f"${kind.__name__.lower()}, a reference to a stage that makes a {kind.__name__}"
    if isinstance(kind, type) and issubclass(kind, Source):
        return "path of something that exists"
    if kind is Destination:
        return "path"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    return names.get(kind, "mapping" if origin is dict else str(getattr(kind, "__name__", kind)).lower())


def limits_words(limits: Param) -> str:
    """A knob's range: `, 1 – 512`."""
    words = [
        f"{sign} {limit:g}"
        for sign, limit in (("≥", limits.ge), (">", limits.gt), ("≤", limits.le), ("<", limits.lt))
        if limit is not None
    ]
    return f", {' and '.join(words)}" if words else ""


def first_line(cls: type) -> str:
    """The first line of a class's explanation."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _contract(kind: str) -> type[Spec]:
    known = contracts()
    if kind not in known:
        raise InputError(f"there is nothing called {kind!r} to choose.", cure=near_miss(kind, [*known]))
    return known[kind]


def _short(value: Any) -> str:
    """A default on one line; a spec by its tag alone."""
    if isinstance(value, dict) and value:
        return str(next(iter(value.values())))
    return json.dumps(value, ensure_ascii=False)


def _wrapped(text: str, indent: str) -> Iterator[str]:
    """Paragraph by paragraph: where the source breaks its lines is not where a terminal does."""
    for place, paragraph in enumerate(text.split("\n\n")):
        yield from [""] if place else []
        yield from textwrap.wrap(paragraph, WIDTH, initial_indent=indent, subsequent_indent=indent)

"""Plain values → specs, with every problem at once."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.spec.knobs import Param, Spec, Value, knobs, sentence

S = TypeVar("S", bound=Spec)

def from_dict(kind: type[S], plain: object, folder: Path | None = None) -> S:
    """Read a spec (or one implementation of a contract) from its document form.

    Raises `InputError` with every problem at once, each `path` relative to `plain`.
    """
    reader = _Reader(folder or Path())
    spec = reader.read(kind, plain, Param(""), ())
    if reader.problems:
        raise InputError(reader.problems)
    return typing.cast(S, spec)


class _Invalid(Exception):
    """A value could not be read; the problem is already noted."""


class _Reader:
    """Reads plain values by type, noting every problem and carrying on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []

    def read(self, kind: Any, plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        """The object of type `kind`; None (with a problem noted) where there is none."""
        try:
            return self._read(kind, plain, limits, at)
        except _Invalid:
            return None

    def _refuse(self, what: str, at: tuple[str | int, ...], cure: str = "") -> typing.NoReturn:
        self.problems.append(Problem(what, cure=cure, path=at))
        raise _Invalid

    def _read(self, kind: Any, plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        origin = typing.get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(typing.get_args(kind), plain, limits, at)
        if origin is Literal:
            return self._choice(typing.get_args(kind), plain, limits, at)
        if origin in (tuple, list):
            return self._sequence(typing.get_args(kind)[0], plain, limits, at)
        if origin is dict or kind is dict:
            return self._mapping(kind, plain, limits, at)
        if isinstance(kind, type) and issubclass(kind, Spec):
            return self._spec(kind, plain, at)
        if isinstance(kind, type) and issubclass(kind, Value):
            return self._value(kind, plain, limits, at)
        return self._scalar(kind, plain, limits, at)

    def _scalar(self, kind: Any, plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        if kind is Any:
            return plain
        wanted = {bool: bool, int: int, float: (int, float), str: str, Path: str}[kind]
        if not isinstance(plain, wanted) or (isinstance(plain, bool) and kind is not bool):
            cure = f"{limits.help} " if limits.help else ""
            self._refuse(f"{show(plain)} is not {KINDS[kind]}.", at, f"{cure}{_quote_hint(kind, plain)}".strip())
        if kind in (int, float) and (complaint := limits.complaint(plain)):
            self._refuse(complaint, at, sentence(limits.help))
        if kind is Path:
            path = Path(plain).expanduser()
            return path if path.is_absolute() else self.folder / path
        return float(plain) if kind is float else plain

    def _choice(self, choices: tuple[Any, ...], plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        if plain in choices and type(plain) in map(type, choices):
            return plain
        known = [str(choice) for choice in choices]
        self._refuse(f"{show(plain)} is not one of {', '.join(known)}.", at, _miss(plain, known))

    def _union(self, kinds: tuple[Any, ...], plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        if plain is None and type(None) in kinds:
            return None
        others = [kind for kind in kinds if kind is not type(None)]
        assert len(others) == 1, "a knob is one type or nothing; write a Value type for more"
        return self._read(others[0], plain, limits, at)

    def _sequence(self, kind: Any, plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        if not isinstance(plain, (list, tuple)):
            self._refuse(f"{show(plain)} is not a list.", at, f"Write it as [{plain}].")
        if limits.min_items is not None and len(plain) < limits.min_items:
            self._refuse(f"needs at least {limits.min_items} entries.", at, sentence(limits.help))
        return tuple(self.read(kind, item, limits, (*at, index)) for index, item in enumerate(plain))

    def _mapping(self, kind: Any, plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            self._refuse(f"{show(plain)} is not a mapping of names to values.", at, sentence(limits.help))
        value_kind = (typing.get_args(kind) or (str, Any))[1]
        return {key: self.read(value_kind, item, limits, (*at, key)) for key, item in plain.items()}

    def _value(self, kind: type[Value], plain: Any, limits: Param, at: tuple[str | int, ...]) -> Any:
        try:
            return kind.parse(plain, self.folder)
        except ValueError as error:
            self._refuse(str(error), at, sentence(limits.help))

    def _spec(self, kind: type[Spec], plain: Any, at: tuple[str | int, ...]) -> Any:
        cls = kind
        if kind.registry is not None:
            cls, plain = self._tagged(kind, plain, at)
        if not isinstance(plain, dict):
            self._refuse(f"{show(plain)} is not a mapping of settings.", at)
        before = len(self.problems)
        known = {knob.name: knob for knob in knobs(cls)}
        for key in plain:
            if key not in known:
                self.problems.append(Problem(f"unknown setting {key!r}.", "", _miss(key, list(known)), (*at, key)))
        given = {
            name: self.read(knob.type, plain[name], knob.param, (*at, name))
            for name, knob in known.items()
            if name in plain
        }
        for name, knob in known.items():
            if knob.required and name not in plain:
                self.problems.append(Problem(f"{name} is missing.", "", sentence(knob.param.help), at))
        if len(self.problems) > before:
            raise _Invalid
        spec = cls(**given)
        self.problems += [problem.under(*at) for problem in spec.problems()]
        return spec

    def _tagged(self, kind: type[Spec], plain: Any, at: tuple[str | int, ...]) -> tuple[type[Spec], Any]:
        registry = kind.registry
        assert registry is not None
        if isinstance(plain, str):
            plain = {kind.tag: plain}
        if not isinstance(plain, dict):
            self._refuse(f"{show(plain)} is not a mapping with a {kind.tag!r}.", at)
        rest = dict(plain)
        name = rest.pop(kind.tag, None)
        known = registry.names()
        if name is None:
            self._refuse(f"{kind.tag!r} is missing.", at, f"Known: {', '.join(known)}.")
        if name not in known:
            self._refuse(f"there is no {registry.kind} {show(name)}.", (*at, kind.tag), _miss(name, known))
        return registry.get(name), rest


KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
"""What a user calls each plain type."""


def show(plain: object) -> str:
    """A document's value as its author would write it, cut short."""
    text = json.dumps(plain, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _miss(word: object, known: list[str]) -> str:
    return near_miss(str(word), known)


def _quote_hint(kind: Any, plain: object) -> str:
    return 'Put it in quotes: "…".' if kind is str and isinstance(plain, (int, float)) else ""

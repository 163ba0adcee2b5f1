"""Plain values → specs, with every problem at once."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, Union

from lorapipe.errors import InputError, Problem, Problems, TooManyProblems, near_miss
from lorapipe.limits import MOST_PROBLEMS
from lorapipe.spec.destination import Destination
from lorapipe.spec.fields import Param, Spec, Value, knobs, old_names, sentence, show
from lorapipe.spec.paths import path_of, trouble
from lorapipe.spec.suggestions import knob_paths, suggestion
from lorapipe.spec.types import Source

S = TypeVar("S", bound=Spec)
Address = tuple[str | int, ...]
"""Where in a document: `("adapter", "rank")`."""


@dataclass(frozen=True)
class Parsed(Generic[S]):
    """What a document said: the spec (None where it could not be read), what is wrong, and every `Value` met.

    `values` holds (address, type that the knob asks for, value), also of specs that could not be read as a whole, so
    that references can be checked in the same report.
    """

    spec: S | None
    problems: tuple[Problem, ...]
    values: tuple[tuple[Address, type[Value], Any], ...]


Folder = Path | Callable[[Address], Path]
"""Where relative paths start: one folder, or the folder for each address."""


class PathPolicy(Protocol):
    """Which paths a document may name: of what is the user's own, any; of what came from a stranger, few."""

    def refusal(self, kind: type, text: str, folder: Path) -> str:
        """Why a knob of type `kind` (`Path`, to write to, or a `Source`) may not hold this path; empty where it may.

        Asked before anything looks whether it is there, and with what: an answer must not tell.
        """


class ProblemCache:
    """What specs say is wrong with them, as it was when they were first asked: they may look at files for that.

    Of those in a document that are written alike, such as the base of a hundred stages, one is asked for all.
    """

    def __init__(self) -> None:
        self._told: dict[Spec, tuple[Problem, ...]] = {}

    def of(self, spec: Spec) -> tuple[Problem, ...]:
        """What it says; addresses start at the spec."""
        try:
            told = self._told.get(spec)
        except TypeError:  # it holds a mapping, and is compared with nothing
            return self._ask(spec)
        if told is None:
            told = self._told[spec] = self._ask(spec)
        return told

    @staticmethod
    def _ask(spec: Spec) -> tuple[Problem, ...]:
        found: list[Problem] = []
        try:
            found.extend(islice(spec.problems(), MOST_PROBLEMS))
        except OSError as error:
            found.append(Problem(f"{error.filename or 'a file'} cannot be read: {trouble(error)}."))
        return tuple(found)


def parse_spec(
    kind: type[S],
    plain: object,
    folder: Folder | None = None,
    policy: PathPolicy | None = None,
    problem_cache: ProblemCache | None = None,
) -> Parsed[S]:
    """Read a spec (or one implementation of a contract) from its document form; relative paths start at `folder`.

    `policy` says which paths it may name; without, all. `problem_cache` are those of all specs that are read together.
    """
    reader = _Reader(folder or Path(), policy, problem_cache or ProblemCache())
    spec = None
    with suppress(TooManyProblems):  # the language tells those that were found, and that there may be more
        spec = reader.read(kind, plain, Param(""), ())
    return Parsed(None if reader.problems else spec, tuple(reader.problems), tuple(reader.values))


def from_dict(kind: type[S], plain: object, folder: Path | None = None) -> S:
    """Like `parse_spec`, for one who wants the spec: raises `InputError` with every problem, `path` relative to `plain`."""
    parsed = parse_spec(kind, plain, folder)
    if parsed.spec is None:
        raise InputError(parsed.problems)
    return parsed.spec


class _InvalidError(Exception):
    """A value could not be read; the problem is already noted."""


class _Reader:
    """Reads plain values by type, noting every problem and carrying on."""

    def __init__(self, folder: Folder, policy: PathPolicy | None, problem_cache: ProblemCache) -> None:
        self._policy = policy
        self._problem_cache = problem_cache
        self._folder_at = folder if callable(folder) else lambda at: folder
        self.problems = Problems()
        self._told = 0
        """How many of them specs have told that could be made."""
        self._around: list[type[Spec]] = []
        """The specs whose settings are being read, from the outermost on."""
        self.values: list[tuple[Address, type[Value], Any]] = []

    def read(self, kind: Any, plain: Any, limits: Param, at: Address) -> Any:
        """The object of type `kind`; None (with a problem noted) where there is none."""
        try:
            return self._read(kind, plain, limits, at)
        except _InvalidError:
            return None

    def _refuse(self, what: str, at: Address, cure: str = "") -> typing.NoReturn:
        self.problems.add(Problem(what, cure=cure, path=at))
        raise _InvalidError

    def _read(self, kind: Any, plain: Any, limits: Param, at: Address) -> Any:
        if kind in KINDS:
            return self._scalar(kind, plain, limits, at)
        if isinstance(kind, type) and issubclass(kind, Spec):
            return self._spec(kind, plain, at)
        if isinstance(kind, type) and issubclass(kind, Value):
            return self._value(kind, plain, limits, at)
        origin = typing.get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(typing.get_args(kind), plain, limits, at)
        if origin is Literal:
            return self._choice(typing.get_args(kind), plain, limits, at)
        if origin in (tuple, list):
            return self._sequence(typing.get_args(kind)[0], plain, limits, at)
        if origin is dict or kind is dict:
            return self._mapping(kind, plain, limits, at)
        return self._scalar(kind, plain, limits, at)

    def _scalar(self, kind: Any, plain: Any, limits: Param, at: Address) -> Any:
        if kind is Any:
            return plain
        value = _as_scalar(kind, plain)
        if value is None:
            cure = " ".join(filter(None, [sentence(limits.help), _quote_hint(kind, plain)]))
            self._refuse(f"{show(plain)} is not {KINDS[kind]}.", at, cure)
        if kind in (int, float) and (complaint := limits.complaint(value)):
            self._refuse(complaint, at, sentence(limits.help))
        if kind is Path:
            self._require_place(kind, value, at)
            try:
                return path_of(value, self._folder_at(at))
            except ValueError as error:
                self._refuse(str(error), at, sentence(limits.help))
        return value

    def _require_place(self, kind: type, text: str, at: Address) -> None:
        if self._policy is not None and (refusal := self._policy.refusal(kind, text, self._folder_at(at))):
            self._refuse(refusal, at)

    def _choice(self, choices: tuple[Any, ...], plain: Any, limits: Param, at: Address) -> Any:
        if not any(plain == choice and type(plain) is type(choice) for choice in choices):
            known = [str(choice) for choice in choices]
            self._refuse(f"{show(plain)} is not one of {', '.join(known)}.", at, _close(plain, known))
        return plain

    def _union(self, kinds: tuple[Any, ...], plain: Any, limits: Param, at: Address) -> Any:
        if plain is None and type(None) in kinds:
            return None
        others = [kind for kind in kinds if kind is not type(None)]
        assert len(others) == 1, "a knob is one type or nothing; write a Value type for more"
        return self._read(others[0], plain, limits, at)

    def _sequence(self, kind: Any, plain: Any, limits: Param, at: Address) -> Any:
        if not isinstance(plain, (list, tuple)):
            self._refuse(f"{show(plain)} is not a list.", at, f"Write it as [{show(plain)}].")
        if limits.min_items is not None and len(plain) < limits.min_items:
            self._refuse(f"needs at least {limits.min_items} entries.", at, sentence(limits.help))
        return tuple(self.read(kind, item, limits, (*at, index)) for index, item in enumerate(plain))

    def _mapping(self, kind: Any, plain: Any, limits: Param, at: Address) -> Any:
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            self._refuse(f"{show(plain)} is not a mapping of names to values.", at, sentence(limits.help))
        value_kind = (typing.get_args(kind) or (str, Any))[1]
        return {key: self.read(value_kind, item, limits, (*at, key)) for key, item in plain.items()}

    def _value(self, kind: type[Value], plain: Any, limits: Param, at: Address) -> Any:
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)  # 1e3 is a whole number to its author
        if issubclass(kind, Source) and isinstance(plain, str) and plain not in kind.words:
            self._require_place(kind, plain, at)
        if issubclass(kind, Destination) and isinstance(plain, str):
            self._require_place(Path, plain, at)
        try:
            value = kind.parse(plain, self._folder_at(at))
        except (ValueError, OSError) as error:
            self._refuse(_said(error), at, _unquoted(kind, plain, self._folder_at(at)) or sentence(limits.help))
        self.values.append((at, kind, value))
        return value

    def _spec(self, kind: type[Spec], plain: Any, at: Address) -> Any:
        cls = kind
        if kind.registry is not None:
            cls, plain = self._tagged(kind, plain, at)
        if not isinstance(plain, dict):
            self._refuse(f"{show(plain)} is not a mapping of settings.", at)
        before = len(self.problems) - self._told
        self._around.append(cls)
        given = self._fields(cls, plain, at)
        self._around.pop()
        if len(self.problems) - self._told > before:
            raise _InvalidError
        spec = cls(**given)  # also of specs that have something to say: what is around them has its own to tell
        told = self._problem_cache.of(spec)
        self._told += len(told)
        self.problems.add_all(problem.under(*at) for problem in told)
        return spec

    def _fields(self, cls: type[Spec], plain: dict[Any, Any], at: Address) -> dict[str, Any]:
        known = {knob.name: knob for knob in knobs(cls)}
        plain = self._renamed(old_names(cls), plain, at)
        for key in plain:
            if key not in known:
                cure = suggestion(cls, str(key)) or self._further_out(str(key), at) or _close(key, list(known))
                self.problems.add(Problem(f"unknown setting {show(key)}.", "", cure, (*at, key)))
        for name, knob in known.items():
            if knob.required and name not in plain:
                self.problems.add(Problem(f"{name} is missing.", "", sentence(knob.param.help), at))
        given = [knob for name, knob in known.items() if name in plain]
        return {knob.name: self.read(knob.type, plain[knob.name], knob.param, (*at, knob.name)) for knob in given}

    def _further_out(self, name: str, at: Address) -> str:
        """A cure for a setting that is not one of this spec, but of one around it; empty where it is none of those."""
        for around in reversed(self._around[:-1]):
            here = {knob.name for knob in knobs(around)}
            if found := [path for path in dict.fromkeys(knob_paths(around, name)) if path in here]:
                return f"It stands one level further out, beside {at[-1]}: {' or '.join(found[:3])}."
        return ""

    def _renamed(self, new: Mapping[str, str], plain: dict[Any, Any], at: Address) -> dict[Any, Any]:
        """Settings under the names of an earlier release, under those of this one."""
        if new.keys().isdisjoint(plain):
            return plain
        renamed = {key: value for key, value in plain.items() if key not in new}
        for old in filter(new.__contains__, plain):
            if new[old] in renamed:
                what = f"{old} is an old name of {new[old]}, which is given too."
                self.problems.add(Problem(what, "", "Keep one, under the new name.", (*at, old)))
            renamed[new[old]] = plain[old]
        return renamed

    def _tagged(self, kind: type[Spec], plain: Any, at: Address) -> tuple[type[Spec], Any]:
        registry = kind.registry
        assert registry is not None
        if isinstance(plain, str):
            plain = {kind.tag: plain}
        if not isinstance(plain, dict):
            self._refuse(f"{show(plain)} is not a mapping with a {kind.tag!r}.", at)
        rest = dict(plain)
        name = rest.pop(kind.tag, None)
        if name is None:
            self._refuse(f"{kind.tag!r} is missing.", at, f"Known: {', '.join(registry.names())}.")
        if not isinstance(name, str) or name not in registry:
            place = (*at, kind.tag) if len(plain) > 1 or rest else at
            self._refuse(f"there is no {registry.kind} {show(name)}.", place, _close(name, registry.names()))
        return registry.get(name), rest


def _as_scalar(kind: Any, plain: Any) -> Any:
    """A document's scalar as `kind`; None where it is none. 1e3 counts as a whole number, true never as a number."""
    if isinstance(plain, bool):
        return plain if kind is bool else None
    if kind is int and isinstance(plain, float) and plain.is_integer():
        return int(plain)
    if kind is float and isinstance(plain, (int, float)):
        return float(plain)
    wanted: type = str if kind is Path else kind
    return plain if isinstance(plain, wanted) else None


KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
"""What a user calls each plain type."""


def _close(word: object, known: list[str]) -> str:
    return near_miss(str(word), known)


def _quote_hint(kind: Any, plain: object) -> str:
    if kind is str:
        return 'Put it in quotes: "…".' if isinstance(plain, (int, float)) else ""
    bare = _bare(plain)
    return f"Take the quotes away: {plain}." if bare is not None and _as_scalar(kind, bare) is not None else ""


def _bare(plain: object) -> bool | float | None:
    """What a text in quotes would be without them, where that is a number or a truth value."""
    if plain in ("true", "false"):
        return plain == "true"
    try:
        number = float(plain) if isinstance(plain, str) and len(plain) < 30 else None
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() else number


def _unquoted(kind: type[Value], plain: object, folder: Path) -> str:
    """The cure for a number in quotes, where the number is what the knob takes."""
    bare = _bare(plain)
    if bare is None:
        return ""
    try:
        kind.parse(bare, folder)
    except (ValueError, OSError):
        return ""
    return f"Take the quotes away: {plain}."


def _said(error: ValueError | OSError) -> str:
    return f"{trouble(error)}: {error.filename}." if isinstance(error, OSError) else str(error)

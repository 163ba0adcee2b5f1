"""Parse plain values to specs; all problems are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from lorapipe.errors import InputError, Problem, Problems, TooManyProblems, near_miss
from lorapipe.spec.base import Param, Spec, Value, sentence
from lorapipe.spec.destination import Destination
from lorapipe.spec.fields import Knob, knobs_by_name, old_names
from lorapipe.spec.paths import PathPolicy, path_of, trouble
from lorapipe.spec.problem_cache import ProblemCache
from lorapipe.spec.reference import REFERENCE, Ref
from lorapipe.spec.scalars import WORDS, as_scalar, quote_cure, unquoted_cure
from lorapipe.spec.serialization import show
from lorapipe.spec.shapes import Scalar, Shape, shape_of, written
from lorapipe.spec.suggestions import suggestion, suggestion_further_out
from lorapipe.spec.types import Source

S = TypeVar("S", bound=Spec)
Address = tuple[str | int, ...]
"""The address of a value in a document: `("adapter", "rank")`."""
Folder = Path | Callable[[Address], Path]
"""The folder where relative paths start; it may depend on the address."""


@dataclass(frozen=True)
class Parsed(Generic[S]):
    """A parsed document: the spec (None if it is invalid), its problems, and every `Value` in it.

    `values` has (address, type of the knob, value), also of invalid specs, so that references in them are checked in the
    same report.
    """

    spec: S | None
    problems: tuple[Problem, ...]
    values: tuple[tuple[Address, type[Value], object], ...]


def parse_spec(
    kind: type[S],
    plain: object,
    folder: Folder | None = None,
    policy: PathPolicy | None = None,
    problem_cache: ProblemCache | None = None,
) -> Parsed[S]:
    """Parse a spec (or one implementation of a contract) from its document form; relative paths start at `folder`.

    `policy` restricts the paths that it may name. Documents that are parsed together share a `problem_cache`.
    """
    parser = _Parser(folder or Path(), policy, problem_cache or ProblemCache())
    spec: Any = None
    with suppress(TooManyProblems):  # the pipeline's reader reports the problems, and that there may be more
        spec = parser.parse(shape_of(kind), plain, Param(""), ())
    return Parsed(None if parser.problems else spec, tuple(parser.problems), tuple(parser.values))


def from_dict(kind: type[S], plain: object, folder: Path | None = None) -> S:
    """Parse a spec like `parse_spec`, and return it. `InputError` has all problems, their `path` relative to `plain`."""
    parsed = parse_spec(kind, plain, folder)
    if parsed.spec is None:
        raise InputError(parsed.problems)
    return parsed.spec


class _InvalidError(Exception):
    """A value could not be parsed; its problem has been recorded."""


class _Parser:
    """Parses plain values by shape, records every problem and continues."""

    def __init__(self, folder: Folder, policy: PathPolicy | None, problem_cache: ProblemCache) -> None:
        self._policy = policy
        self._problem_cache = problem_cache
        self._folder_at = folder if callable(folder) else lambda at: folder
        self.problems = Problems()
        self._reported = 0
        """The number of problems that valid specs reported about themselves."""
        self._around: list[type[Spec]] = []
        """The specs whose settings are being parsed, outermost first."""
        self.values: list[tuple[Address, type[Value], object]] = []

    def parse(self, shape: Shape, plain: object, limits: Param, at: Address) -> object:
        """Return the object of that shape; None, with a problem recorded, if it is invalid."""
        try:
            return self._parse(shape, plain, limits, at)
        except _InvalidError:
            return None

    def _refuse(self, what: str, at: Address, cure: str = "") -> NoReturn:
        self.problems.add(Problem(what, cure=cure, path=at))
        raise _InvalidError

    def _parse(self, shape: Shape, plain: object, limits: Param, at: Address) -> object:
        if plain is None and shape.optional:
            return None
        match shape.kind:
            case "boolean" | "integer" | "number" | "text":
                return self._scalar(shape.kind, plain, limits, at)
            case "path":
                return self._path(plain, limits, at)
            case "choice":
                return self._choice(shape.choices, plain, at)
            case "list":
                return self._list(shape.item, plain, limits, at)
            case "mapping":
                return self._mapping(shape.item, plain, limits, at)
            case "spec":
                return self._spec(shape.spec, plain, at)
            case "contract":
                return self._spec(*self._implementation(shape.spec, plain, at), at)
            case "any":
                return plain
        return self._value(shape.value, plain, limits, at)

    def _scalar(self, kind: str, plain: object, limits: Param, at: Address) -> Scalar:
        value = as_scalar(kind, plain)
        if value is None:
            cure = " ".join(filter(None, [sentence(limits.help), quote_cure(kind, plain)]))
            self._refuse(f"{show(plain)} is not {WORDS[kind]}.", at, cure)
        if not isinstance(value, (str, bool)) and (complaint := limits.complaint(value)):
            self._refuse(complaint, at, sentence(limits.help))
        return value

    def _path(self, plain: object, limits: Param, at: Address) -> Path:
        text = str(self._scalar("path", plain, limits, at))
        self._require_allowed(Path, text, at)
        try:
            return path_of(text, self._folder_at(at))
        except ValueError as error:
            self._refuse(str(error), at, sentence(limits.help))

    def _require_allowed(self, kind: type, text: str, at: Address) -> None:
        if self._policy is not None and (refusal := self._policy.refusal(kind, text, self._folder_at(at))):
            self._refuse(refusal, at)

    def _choice(self, choices: tuple[Scalar, ...], plain: object, at: Address) -> object:
        if not any(plain == choice and type(plain) is type(choice) for choice in choices):
            known = [*map(written, choices)]
            self._refuse(f"{show(plain)} is not one of {', '.join(known)}.", at, near_miss(written(plain), known))
        return plain

    def _list(self, item: Shape, plain: object, limits: Param, at: Address) -> tuple[object, ...]:
        if limits.word and plain == limits.word:
            return (limits.word,)
        if not isinstance(plain, (list, tuple)):
            self._refuse(f"{show(plain)} is not a list.", at, f"Write it as [{show(plain)}].")
        if limits.min_items is not None and len(plain) < limits.min_items:
            self._refuse(f"needs at least {limits.min_items} entries.", at, sentence(limits.help))
        return tuple(self.parse(item, entry, limits, (*at, index)) for index, entry in enumerate(plain))

    def _mapping(self, item: Shape, plain: object, limits: Param, at: Address) -> dict[str, object]:
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            self._refuse(f"{show(plain)} is not a mapping of names to values.", at, sentence(limits.help))
        return {key: self.parse(item, value, limits, (*at, key)) for key, value in plain.items()}

    def _require_allowed_place(self, kind: type[Value], plain: str, at: Address) -> None:
        if issubclass(kind, Source) and plain not in kind.words:
            self._require_allowed(kind, plain, at)
        if issubclass(kind, Destination):
            self._require_allowed(Path, plain, at)

    def _value(self, kind: type[Value], plain: object, limits: Param, at: Address) -> object:
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)  # users write 1e3 for a whole number
        if issubclass(kind, Source) and kind.artifact and isinstance(plain, str) and REFERENCE.fullmatch(plain):
            reference = Ref.parse(plain, self._folder_at(at))
            self.values.append((at, kind, reference))
            return reference
        if isinstance(plain, str):
            self._require_allowed_place(kind, plain, at)
        try:
            value = kind.parse(plain, self._folder_at(at))
        except (ValueError, OSError) as error:
            self._refuse(_message(error), at, unquoted_cure(kind, plain, self._folder_at(at)) or sentence(limits.help))
        self.values.append((at, kind, value))
        return value

    def _spec(self, cls: type[Spec], plain: object, at: Address) -> Spec:
        if not isinstance(plain, dict):
            self._refuse(f"{show(plain)} is not a mapping of settings.", at)
        before = len(self.problems) - self._reported
        self._around.append(cls)
        given = self._settings(cls, plain, at)
        self._around.pop()
        if len(self.problems) - self._reported > before:
            raise _InvalidError
        spec = cls(**given)  # even if it reports problems, so that the specs around it can report theirs
        reported = self._problem_cache.of(spec)
        self._reported += len(reported)
        self.problems.add_all(problem.under(*at) for problem in reported)
        return spec

    def _settings(self, cls: type[Spec], plain: dict[str, object], at: Address) -> dict[str, object]:
        known = knobs_by_name(cls)
        plain = self._with_present_names(old_names(cls), plain, at)
        for key, value in plain.items():
            if key not in known:
                self._note_unknown(cls, key, value, [*known], at)
        for name, knob in known.items():
            if knob.required and name not in plain:
                self.problems.add(Problem(f"{name} is missing.", "", sentence(knob.param.help), at))
        found: dict[str, object] = {}
        for knob in (knob for name, knob in known.items() if name in plain):
            value, place = plain[knob.name], (*at, knob.name)
            if knob.param.rest and isinstance(value, (list, tuple)):
                found |= self._spread(knob, value, place, rest_given=knob.param.rest in plain)
            else:
                found[knob.name] = self.parse(knob.shape, value, knob.param, place)
        return found

    def _spread(
        self, knob: Knob, entries: list[object] | tuple[object, ...], at: Address, rest_given: bool
    ) -> dict[str, object]:
        """Parse a list in place of one value: its first entry is the knob's, the others those of the knob `rest`."""
        if not entries:
            self.problems.add(Problem("needs at least 1 entry.", "", sentence(knob.param.help), at))
            return {}
        if rest_given:
            what = f"{knob.name} is a list, and {knob.param.rest} is given too."
            self.problems.add(Problem(what, "", "Write them all in one list.", at))
        first, *others = (self.parse(knob.shape, each, knob.param, (*at, place)) for place, each in enumerate(entries))
        return {knob.name: first} if rest_given else {knob.name: first, knob.param.rest: tuple(others)}

    def _note_unknown(self, cls: type[Spec], key: str, value: object, known: list[str], at: Address) -> None:
        if key in cls.withdrawn:  # files that list every setting have it as off, which is no mistake
            if value:
                self.problems.add(Problem(f"{key} is no longer there.", "", cls.withdrawn[key], (*at, key)))
            return
        cure = (
            suggestion(cls, str(key))
            or suggestion_further_out(self._around[:-1], str(key), at)
            or near_miss(str(key), known)
        )
        self.problems.add(Problem(f"unknown setting {show(key)}.", "", cure, (*at, key)))

    def _note_withdrawn(self, cls: type[Spec], key: str, value: object, at: Address) -> None:
        """Refuse a setting of earlier releases, unless it was off, as files that list every setting have it."""
        if value:
            self.problems.add(Problem(f"{key} is no longer there.", "", cls.withdrawn[key], (*at, key)))

    def _with_present_names(self, new: Mapping[str, str], plain: dict[str, object], at: Address) -> dict[str, object]:
        """Return settings with names of earlier releases replaced by the present ones."""
        if new.keys().isdisjoint(plain):
            return plain
        renamed = {key: value for key, value in plain.items() if key not in new}
        for old in filter(new.__contains__, plain):
            if new[old] in renamed:
                what = f"{old} is an old name of {new[old]}, which is given too."
                self.problems.add(Problem(what, "", "Keep one, under the new name.", (*at, old)))
            renamed[new[old]] = plain[old]
        return renamed

    def _implementation(self, contract: type[Spec], plain: object, at: Address) -> tuple[type[Spec], object]:
        """Return the class that the document's tag names, and the rest of the document."""
        registry = contract.registry
        assert registry is not None
        if isinstance(plain, str):
            plain = {contract.tag: plain}
        if not isinstance(plain, dict):
            self._refuse(f"{show(plain)} is not a mapping with a {contract.tag!r}.", at)
        rest = dict(plain)
        name = rest.pop(contract.tag, None)
        if name is None:
            self._refuse(f"{contract.tag!r} is missing.", at, f"Known: {', '.join(registry.names())}.")
        if not isinstance(name, str) or name not in registry:
            place = (*at, contract.tag) if len(plain) > 1 or rest else at
            cure = near_miss(str(name), registry.names())
            self._refuse(f"there is no {registry.kind} {show(name)}.", place, cure)
        return registry.get(name), rest


def _message(error: ValueError | OSError) -> str:
    return f"{trouble(error)}: {error.filename}." if isinstance(error, OSError) else str(error)

"""YAML text → plain values, with a position for everything.

PyYAML's C parser reads; the values are made here, because PyYAML follows YAML 1.1 (where `1e-4` is text, `no` is false and
a key given twice is silently lost) and because its own values have no positions. Scalars are those of the YAML 1.2 core
schema. Nothing but text, numbers, true, false, null, lists and mappings can come out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.spec import Address

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Values after aliases are expanded, so that a small document cannot become a large one."""

EXCERPT_LENGTH = 100
TAGS = frozenset({"!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
DEEPER = {
    yaml.ScalarEvent: 0,
    yaml.AliasEvent: 0,
    yaml.SequenceStartEvent: 1,
    yaml.MappingStartEvent: 1,
    yaml.SequenceEndEvent: -1,
    yaml.MappingEndEvent: -1,
}
"""The parser's events that values are made of, and by how much each leads deeper."""


class Position(NamedTuple):
    """Line and column, both from 1, in a file as the user named it."""

    line: int
    column: int
    file: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Document:
    """The plain value of a YAML file, and of those it extends, and where each part of it stands.

    `name` is the file as the user named it; `lines` are those of every file.
    """

    name: str
    value: Any
    positions: Mapping[Address, Position]
    lines: Mapping[str, Sequence[str]]

    def position(self, address: Address) -> Position:
        """Where the address, or the nearest thing around it that is in the file, stands."""
        while address and address not in self.positions:
            address = address[:-1]
        return self.positions.get(address, Position(1, 1, self.name))

    def where(self, address: Address) -> str:
        """`cat.yaml:4:54`."""
        return str(self.position(address))

    def excerpt(self, address: Address) -> str:
        """The line of an address, with a mark under its beginning."""
        line, column, file = self.position(address)
        return marked(self.lines[file][line - 1], column) if line <= len(self.lines[file]) else ""


def marked(line: str, column: int) -> str:
    """A line, indented, with a mark under a column (from 1); of a long line, the part around it."""
    start = max(0, column - EXCERPT_LENGTH // 2) if len(line) > EXCERPT_LENGTH else len(line) - len(line.lstrip())
    shown = line[start : start + EXCERPT_LENGTH].rstrip()
    return f"    {shown}\n    {' ' * max(0, column - 1 - start)}^" if shown else ""


def open_document(path: Path) -> Document:
    """Read a YAML file; whatever is wrong with it is an `InputError`."""
    name = str(path)
    try:
        with path.open("rb") as file:  # its size may not be asked: /dev/zero has none, and no end
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"is larger than {MAX_BYTES // 1000} kB.", where=name, cure="Is it a pipeline?")
    except FileNotFoundError:
        raise InputError("there is no such file.", where=name, cure=_beside(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=name) from None
    try:
        return parse(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text (byte {error.start}).", where=name, cure="Save it as UTF-8.") from None


def parse(text: str, name: str) -> Document:
    """The document in a YAML text; `InputError` lists what is wrong with it."""
    lines = text.splitlines()
    try:
        events = _events(text, name)
    except yaml.MarkedYAMLError as error:
        raise InputError(_syntax_problem(error, text, name)) from None
    except yaml.reader.ReaderError as error:
        what = f"holds a character that YAML does not allow: U+{error.character:04X}."
        raise InputError(what, where=name) from None
    if not events:
        raise InputError("is empty.", where=name, cure="A pipeline needs `stages:`; see pipelines/quickstart.yaml.")
    builder = _Builder(name, lines, events)
    value = builder.build(())
    if builder.problems:
        raise InputError(builder.problems)
    return Document(name, value, builder.positions, {name: lines})


def _events(text: str, name: str) -> list[Any]:
    """What the parser meets of values: a flat list, so that deep nesting is refused before anything descends into it."""
    events: list[Any] = []
    depth = documents = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        deeper = DEEPER.get(type(event))
        if deeper is not None:
            events.append(event)
            depth += deeper
            if depth > MAX_DEPTH:
                line, column = _position(event.start_mark)
                raise InputError(TOO_DEEP, where=f"{name}:{line}:{column}")
            if len(events) > 3 * MAX_VALUES:
                raise InputError(TOO_MANY, where=name)
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(problem="expected a single document", problem_mark=mark)
    return events


class _Builder:
    """Makes plain values from the parser's events, noting positions and problems."""

    def __init__(self, name: str, lines: Sequence[str], events: Sequence[Any]) -> None:
        self.name = name
        self.lines = lines
        self.positions: dict[Address, Position] = {}
        self.problems: list[Problem] = []
        self._events = events
        self._next = 0
        self._anchors = _anchors(events)
        self._values = 0

    def build(self, at: Address) -> Any:
        """The value that the next events make."""
        self._values += 1
        if self._values > MAX_VALUES or len(at) > MAX_DEPTH:
            raise InputError(TOO_MANY, where=self.name, cure="Write fewer aliases (*name).")
        event = self._events[self._next]
        if isinstance(event, yaml.AliasEvent):
            return self._anchored(event, at)
        self._next += 1
        self.positions.setdefault(at, self._position(event))
        if event.tag is not None and event.tag not in TAGS:
            self._refuse(f"the tag {event.tag!r} is not used in pipelines.", event, "Take it away.")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(at)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(at)
        return event.value if event.style else scalar(event.value)

    def _anchored(self, alias: yaml.AliasEvent, at: Address) -> Any:
        """What `*name` stands for, made once more, for another address."""
        after, begins = self._next + 1, self._anchors[self._next]
        value = None
        if begins is None:
            self._refuse(f"there is no &{alias.anchor} before this *{alias.anchor}.", alias)
        else:
            self._next = begins
            value = self.build(at)
        self._next = after
        return value

    def _sequence(self, at: Address) -> list[Any]:
        result: list[Any] = []
        while not self._ends():
            result.append(self.build((*at, len(result))))
        return result

    def _mapping(self, at: Address) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        while not self._ends():
            event = self._events[self._next]
            if isinstance(event, yaml.ScalarEvent):
                self._next += 1
                key = event.value
                if key not in result:
                    self.positions[*at, key] = self._position(event)
                    result[key] = self.build((*at, key))
                    continue
                line = self.positions[*at, key].line
                self._refuse(f"{key!r} is given twice; the first is in line {line}.", event, "Keep one.")
            else:
                self._refuse("a key must be a word, not a list, a mapping or an alias.", event, FLOW_HINT)
                self._skip()
            self._skip()
        return result

    def _ends(self) -> bool:
        """Whether the list or mapping is over; if so, go on behind it."""
        ends = isinstance(self._events[self._next], yaml.CollectionEndEvent)
        self._next += ends
        return ends

    def _skip(self) -> None:
        """Pass over a value."""
        depth = 0
        while True:
            depth += DEEPER[type(self._events[self._next])]
            self._next += 1
            if not depth:
                return

    def _refuse(self, what: str, event: yaml.Event, cure: str = "") -> None:
        place = self._position(event)
        excerpt = marked(self.lines[place.line - 1], place.column) if place.line <= len(self.lines) else ""
        self.problems.append(Problem(what, str(place), cure, excerpt=excerpt))

    def _position(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(mark.line + 1, mark.column + 1, self.name)


def _anchors(events: Iterable[Any]) -> dict[int, int | None]:
    """Where, in the events, the value of each alias begins: the last one before it that has its name."""
    found: dict[int, int | None] = {}
    last: dict[str, int] = {}
    for index, event in enumerate(events):
        name = getattr(event, "anchor", None)
        if name is not None and isinstance(event, yaml.AliasEvent):
            found[index] = last.get(name)
        elif name is not None:
            last[name] = index
    return found


NULL = re.compile(r"~|null|Null|NULL|")
TRUE = re.compile(r"true|True|TRUE")
FALSE = re.compile(r"false|False|FALSE")
INTEGER = re.compile(r"[-+]?[0-9]{1,30}")
OTHER_BASE = re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

NO_WORD = frozenset("~nNtTfF+-.0123456789")
"""What a null, a truth value or a number begins with: most scalars are words, and need no closer look."""


def scalar(text: str) -> Any:
    """The value of a plain scalar in the YAML 1.2 core schema."""
    if text and text[0] not in NO_WORD:
        return text
    if NULL.fullmatch(text):
        return None
    if TRUE.fullmatch(text):
        return True
    if FALSE.fullmatch(text):
        return False
    if INTEGER.fullmatch(text):
        return int(text)
    if OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


TOO_MANY = f"holds more than {MAX_VALUES} values or {MAX_DEPTH} levels once its aliases are expanded."
TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep."
FLOW_HINT = 'Inside { } and [ ], a ${name} must stand in quotes: "${name}".'


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = _position(mark) if mark else (1, 1)
    lines = text.splitlines()
    at = lines[line - 1] if line <= len(lines) else ""
    problem = error.problem or "unknown"
    if "nesting depth" in problem:  # libyaml has a bound of its own since 0.2.6, and meets it first
        return Problem(TOO_DEEP, f"{name}:{line}:{column}")
    cure = ""
    if "\t" in problem or "\\t" in problem or at.lstrip(" ").startswith("\t"):
        cure = "Indent with spaces, not with tabs."
    elif (flow := re.search(r"[{\[]", at)) and re.search(r"[^\"']\$\{", at[flow.end() :]):
        cure = FLOW_HINT
    elif "mapping values are not allowed" in problem:
        cure = "Put text that holds ': ' in quotes, and check the indentation."
    elif "single document" in str(error):
        cure = "Keep one document: take the '---' lines away."
    return Problem(f"this is not YAML: {problem}.", f"{name}:{line}:{column}", cure, excerpt=marked(at, column))


def _position(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _beside(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist either."
    found = sorted(str(folder / entry.name) for entry in folder.iterdir() if entry.suffix in (".yaml", ".yml"))
    return near_miss(str(path), found[:50])

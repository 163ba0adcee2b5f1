"""Build plain values from YAML's parser events, with a position for each.

PyYAML's C parser is used, but values are built here, because PyYAML follows YAML 1.1 (where `1e-4` is text, `no` is false
and a duplicate key is silently lost) and its values have no positions. Scalars follow the YAML 1.2 core schema. The
result consists only of text, numbers, true, false, null, lists and mappings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import yaml

from lorapipe.errors import InputError, Problem, Problems
from lorapipe.limits import MOST_LEVELS, MOST_VALUES
from lorapipe.pipeline import yaml_typos
from lorapipe.pipeline.expansion_limits import Allowance
from lorapipe.pipeline.yaml_typos import marked
from lorapipe.spec import Address, show

TAGS = frozenset({"!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
DEEPER = {
    yaml.ScalarEvent: 0,
    yaml.AliasEvent: 0,
    yaml.SequenceStartEvent: 1,
    yaml.MappingStartEvent: 1,
    yaml.SequenceEndEvent: -1,
    yaml.MappingEndEvent: -1,
}
"""The parser events that make up values, and by how much each changes the depth."""
TOO_MANY = f"has more than {MOST_VALUES} values."
TOO_DEEP = f"is nested more than {MOST_LEVELS} levels deep."
UNWANTED = re.compile("[\0-\x1f\x7f-\xa0\u2028\u2029]")
BEGINS_LOOSELY = frozenset(f"{yaml_typos.ODD}“”„«»‘’–—−•·")
NULL = re.compile(r"~|null|Null|NULL|")
TRUE = re.compile(r"true|True|TRUE")
FALSE = re.compile(r"false|False|FALSE")
INTEGER = re.compile(r"[-+]?[0-9]{1,30}")
OTHER_BASE = re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

NO_WORD = frozenset("~nNtTfF+-.0123456789")
"""First characters of nulls, booleans and numbers: scalars with others are text."""


class Position(NamedTuple):
    """Line and column, both from 1, in a file as the user named it."""

    line: int
    column: int
    file: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def parser_events(text: str, name: str) -> list[Any]:
    """Return the parser's events as a flat list, so that deep nesting is refused before any recursion."""
    events: list[Any] = []
    depth = documents = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        deeper = DEEPER.get(type(event))
        if deeper is not None:
            events.append(event)
            depth += deeper
            if depth > MOST_LEVELS:
                line, column = _position(event.start_mark)
                raise InputError(TOO_DEEP, where=f"{name}:{line}:{column}")
            if len(events) > 3 * MOST_VALUES:
                raise InputError(TOO_MANY, where=name)
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(problem="expected a single document", problem_mark=mark)
    return events


class Builder:
    """Builds plain values from the parser's events, and records positions and problems."""

    def __init__(self, name: str, lines: Sequence[str], events: Sequence[Any]) -> None:
        self.name = name
        self.lines = lines
        self.positions: dict[Address, Position] = {}
        self.problems = Problems()
        self._events = events
        self._next = 0
        self._anchors = _anchors(events)
        self._allowance = Allowance("with its aliases (*name) expanded", name)

    def build(self, at: Address) -> object:
        """Build the value of the next events."""
        event = self._events[self._next]
        self._allowance.take(1, len(getattr(event, "value", "")))
        if len(at) > MOST_LEVELS:
            raise InputError(TOO_DEEP, where=self.name, cure="Write fewer aliases (*name).")
        if isinstance(event, yaml.AliasEvent):
            return self._anchored(event, at)
        self._next += 1
        self.positions.setdefault(at, self._position(event))
        if event.tag is not None and event.tag not in TAGS:
            self._refuse(f"the tag {event.tag!r} is not used in pipelines.", event, "Remove it.")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(at)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(at)
        if event.style:
            self._check_quoted(event)
            return event.value
        if event.value and (event.value[0] in BEGINS_LOOSELY or event.value[-1] in BEGINS_LOOSELY):
            self._check_loose(event, yaml_typos.LOOSE)
        return scalar(event.value)

    def _check_quoted(self, event: yaml.ScalarEvent) -> None:
        """Check a quoted text for control characters, which usually come from an unintended escape."""
        if "\0" in event.value or (event.style == '"' and UNWANTED.search(event.value)):
            line, column = _position(event.start_mark)
            source = self.lines[line - 1][column - 1 :] if line <= len(self.lines) else ""
            if yaml_typos.is_broken_path(event.value, source):
                what = f"{yaml_typos.escaped(source)}: in double quotes \\ begins an escape."
                self._refuse(what, event, yaml_typos.IN_QUOTES)
            elif "\0" in event.value:
                self._refuse("a text with the character U+0000 in it.", event, "Remove \\0.")

    def _check_loose(self, event: yaml.ScalarEvent, typos: Sequence[yaml_typos.Typo]) -> None:
        """Check a text without quotes for valid YAML that is probably not what was meant."""
        if found := yaml_typos.loose(event.value, typos):
            what, cure = found
            self._refuse(f"{yaml_typos.visible(show(event.value))} {what}", event, cure)

    def _anchored(self, alias: yaml.AliasEvent, at: Address) -> object:
        """Build the value of `*name` again, for another address."""
        after, begins = self._next + 1, self._anchors[self._next]
        value = None
        if begins is None:
            self._refuse(f"there is no &{alias.anchor} before this *{alias.anchor}.", alias)
        else:
            self._next = begins
            value = self.build(at)
        self._next = after
        return value

    def _sequence(self, at: Address) -> list[object]:
        result: list[object] = []
        while not self._ends():
            result.append(self.build((*at, len(result))))
        return result

    def _mapping(self, at: Address) -> dict[object, object]:
        result: dict[object, object] = {}
        while not self._ends():
            event = self._events[self._next]
            if isinstance(event, yaml.ScalarEvent):
                self._next += 1
                key = event.value
                self._allowance.take(0, len(key))
                if key == "<<":
                    self._refuse(
                        "YAML's merges (<<) are not used.", event, "Use `extends: FILE`, or write the settings here."
                    )
                elif not (event.style or key.isalnum() or key.isidentifier()):
                    self._check_loose(event, yaml_typos.LOOSE_NAMES)
                elif event.style:
                    self._check_quoted(event)
                if key not in result:
                    self.positions[*at, key] = self._position(event)
                    self._check_below(event)
                    if key.isdigit() and self._cuts_a_number(event, result):
                        self._skip()
                        continue
                    result[key] = self.build((*at, key))
                    continue
                line = self.positions[*at, key].line
                self._refuse(f"{key!r} is given twice; the first is on line {line}.", event, "Keep one.")
            else:
                self._refuse("a key must be a word, not a list, a mapping or an alias.", event, yaml_typos.FLOW_HINT)
                self._skip()
            self._skip()
        return result

    def _cuts_a_number(self, name: yaml.ScalarEvent, before: dict[object, object]) -> bool:
        """Whether a name without a value is the rest of a number with a decimal comma inside { }; adds a problem if so."""
        last, value = [*before.values()][-1:], self._events[self._next]
        if name.style or not last or type(last[0]) is not int:
            return False
        if not isinstance(value, yaml.ScalarEvent) or value.style or value.value:
            return False
        decimal, thousands = f"{last[0]}.{name.value}", f"{last[0]}{name.value}"
        cure = f"Write {decimal}, or {thousands} if that is meant." if last[0] else f"Write {decimal}."
        self._refuse(f"{last[0]},{name.value} is not a number: the comma begins another entry.", name, cure)
        return True

    def _check_below(self, name: yaml.ScalarEvent) -> None:
        """Check a text without quotes on the line below its name, where settings or a list are expected."""
        event = self._events[self._next]
        if not isinstance(event, yaml.ScalarEvent) or event.style:
            return
        below: Any = event.start_mark
        begins: Any = name.start_mark
        if below.line > begins.line:
            self._check_loose(event, yaml_typos.LOOSE_LINES)

    def _ends(self) -> bool:
        """Whether the list or mapping ends here; if so, move past its end."""
        ends = isinstance(self._events[self._next], yaml.CollectionEndEvent)
        self._next += ends
        return ends

    def _skip(self) -> None:
        """Skip a value."""
        depth = 0
        while True:
            depth += DEEPER[type(self._events[self._next])]
            self._next += 1
            if not depth:
                return

    def _refuse(self, what: str, event: yaml.Event, cure: str = "") -> None:
        place = self._position(event)
        excerpt = marked(self.lines[place.line - 1], place.column) if place.line <= len(self.lines) else ""
        self.problems.add(Problem(what, str(place), cure, excerpt=excerpt))

    def _position(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(mark.line + 1, mark.column + 1, self.name)


def scalar(text: str) -> object:
    """Return the value of a plain scalar in the YAML 1.2 core schema."""
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


def _anchors(events: Iterable[Any]) -> dict[int, int | None]:
    """Return the index of the event at which each alias's value begins: the last anchor with its name before it."""
    found: dict[int, int | None] = {}
    last: dict[str, int] = {}
    for index, event in enumerate(events):
        name = getattr(event, "anchor", None)
        if name is not None and isinstance(event, yaml.AliasEvent):
            found[index] = last.get(name)
        elif name is not None:
            last[name] = index
    return found


def _position(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1

"""Configurations as nested mappings, whose leaves are looked up in a table of dotted names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lorapipe.config_import.configuration import Kind, Option, Outcome
from lorapipe.config_import.source_file import Path_

Value = Callable[[object], object]
"""Converts a value to kohya's."""


@dataclass(frozen=True)
class Entry:
    """What a key of another trainer is: kohya's option and the conversion of its value, or a fixed outcome."""

    name: str = ""
    value: Value | None = None
    outcome: Outcome | None = None


def to(name: str, value: Value | None = None) -> Entry:
    """Return an entry for an option of kohya's."""
    return Entry(name, value)


def said(kind: Kind, text: str) -> Entry:
    """Return an entry for a key with a fixed outcome."""
    return Entry(outcome=Outcome(kind, text))


def leaves(value: object, at: Path_ = ()) -> Iterator[tuple[Path_, object]]:
    """Yield the values of nested mappings and lists of mappings, with their addresses."""
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from leaves(each, (*at, str(name)))
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        for place, each in enumerate(value):
            yield from leaves(each, (*at, place))
    else:
        yield at, value


def option(at: Path_, value: object, table: Mapping[str, Entry], file: str, line: int, prefix: int = 0) -> Option:
    """Return the option of a leaf; `prefix` is how many parts of its address the table leaves out."""
    written = ".".join(map(str, at))
    short = ".".join(str(part) for part in at[prefix:])
    entry = table.get(short)
    if entry is None and (value is None or value in ("", False, [], {})):
        return Option(short, value, written, file, line, outcome=Outcome("no effect", "is empty or off"))
    if entry is None:
        return Option(short, value, written, file, line, outcome=Outcome("unknown", "not known here"))
    if entry.outcome is not None:
        return Option(short, value, written, file, line, outcome=entry.outcome)
    if value is None or value == "":
        return Option(short, value, written, file, line, outcome=Outcome("no effect", "is empty"))
    converted = entry.value(value) if entry.value else value
    if isinstance(converted, Outcome):
        return Option(short, value, written, file, line, outcome=converted)
    return Option(entry.name, converted, written, file, line)


def is_on(value: object) -> bool:
    """Whether a switch is on, also of those with several positions."""
    return str(value).strip().lower() not in ("", "false", "off", "none", "0", "no")

"""Read YAML into plain values with positions; syntax errors become readable messages."""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lorapipe.errors import InputError, Problem, listed, near_miss
from lorapipe.limits import MOST_BYTES
from lorapipe.pipeline import foreign_files
from lorapipe.pipeline.yaml_typos import marked
from lorapipe.pipeline.yaml_values import TOO_DEEP, Builder, Position, parser_events
from lorapipe.spec import Address
from lorapipe.spec.paths import trouble

MOST_BESIDE = 50
"""Most YAML files of a folder that are compared for a message."""
NOT_YAML = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Matches characters that YAML does not allow."""


class Document(NamedTuple):
    """The plain value of a YAML file and the files it extends, with the position of each part.

    `name` is the file as the user named it; `lines` has the lines of every file.
    """

    name: str
    value: Any
    positions: Mapping[Address, Position]
    lines: Mapping[str, Sequence[str]]

    def position(self, address: Address) -> Position:
        """Return the position of an address, or of the innermost value around it that is in the file."""
        while address and address not in self.positions:
            address = address[:-1]
        return self.positions.get(address, Position(1, 1, self.name))

    def where(self, address: Address) -> str:
        """Return the position as `cat.yaml:4:54`."""
        return str(self.position(address))

    def excerpt(self, address: Address) -> str:
        """Return the line of an address with a mark under its beginning."""
        line, column, file = self.position(address)
        return marked(self.lines[file][line - 1], column) if line <= len(self.lines[file]) else ""


def open_document(path: Path) -> Document:
    """Read a YAML file. `InputError` if anything is wrong with it."""
    return parse_file(read_text(path), str(path))


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Read a text file of at most `most` bytes. Pipes, which might block, are refused before they are opened."""
    name = str(path)
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise InputError("is a folder, not a pipeline.", where=name, cure=_within(path))
        if not stat.S_ISREG(kind.st_mode):
            raise InputError("is not a regular file.", where=name, cure="Name a YAML file.")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise InputError("there is no such file.", where=name, cure=_beside(path)) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot be read: {trouble(error)}.", where=name) from None
    if foreign := foreign_files.of_bytes(data, name):
        raise InputError(foreign)
    if len(data) > most:
        what = f"is larger than {MOST_BYTES // 1000} kB" + ("." if most == MOST_BYTES else ", with what extends it.")
        raise InputError(what, where=name, cure="Is it a pipeline?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text (byte {error.start}).", where=name, cure="Save it as UTF-8.") from None


def parse_file(text: str, name: str) -> Document:
    """Parse a file's text. If it is another program's file, say so instead of reporting syntax errors."""
    try:
        document = parse(text, name)
    except InputError:
        if foreign := foreign_files.of_text(text, name):
            raise InputError(foreign) from None
        raise
    ours = isinstance(document.value, dict) and {"stages", "vars", "extends"} & document.value.keys()
    if not ours and (foreign := foreign_files.of_text(text, name)):
        raise InputError(foreign)
    return document


def parse(text: str, name: str) -> Document:
    """Parse a YAML text. `InputError` lists what is wrong with it."""
    if found := NOT_YAML.search(text):
        raise InputError(_forbidden(text, found.start(), name))
    lines = text.splitlines()
    try:
        events = parser_events(text, name)
    except yaml.MarkedYAMLError as error:
        raise InputError(_syntax_problem(error, text, name)) from None
    if not events:
        raise InputError("is empty.", where=name, cure="A pipeline needs `stages:`; see pipelines/quickstart.yaml.")
    builder = Builder(name, lines, events)
    value = builder.build(())
    if builder.problems:
        raise InputError(builder.problems)
    return Document(name, value, builder.positions, {name: lines})


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, name: str) -> Problem:
    from lorapipe.pipeline import yaml_errors  # most documents have none

    mark: Any = error.problem_mark or error.context_mark
    said = error.problem or "unknown"
    end = yaml_errors.Mark(mark.line, mark.column) if mark else yaml_errors.Mark(0, 0)
    if "nesting depth" in said:  # libyaml has its own limit since 0.2.6, which is reached first
        return Problem(TOO_DEEP, f"{name}:{end.line + 1}:{end.column + 1}")
    began: Any = error.context_mark
    begin = yaml_errors.Mark(began.line, began.column) if began else None
    return yaml_errors.problem(text, name, error.context or "", begin, said, end)


def _forbidden(text: str, at: int, name: str) -> Problem:
    """Return the problem of a character that YAML does not allow."""
    above = text[:at].splitlines() if at else []
    line, column = (len(above), len(above[-1])) if above and text[at - 1] not in "\r\n" else (len(above) + 1, 0)
    what = f"contains a character that YAML does not allow: U+{ord(text[at]):04X}."
    cure = "Remove it." if not 0xD800 <= ord(text[at]) <= 0xDFFF else "It is a surrogate: the text was not UTF-8."
    return Problem(what, f"{name}:{line}:{column + 1}", cure)


def _beside(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist either."
    return near_miss(str(path), _pipelines(folder))


def _within(folder: Path) -> str:
    found = _pipelines(folder)
    return f"Name the file in it: {listed(found, 5)}." if found else "Name a YAML file."


def _pipelines(folder: Path) -> list[str]:
    """Return the YAML files of a folder, sorted; at most `MOST_BESIDE`."""
    try:
        names = (entry.name for entry in os.scandir(folder) if entry.name.endswith((".yaml", ".yml")))
        return sorted(str(folder / name) for name in itertools.islice(names, MOST_BESIDE))
    except OSError:
        return []

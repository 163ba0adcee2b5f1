"""A file to import: its text, its data if it is JSON, TOML or YAML, and the lines of its keys."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import yaml

from lorapipe import file_signatures
from lorapipe.errors import InputError, problem_of
from lorapipe.regular_files import IrregularFileError, open_regular

MOST_BYTES = 2_000_000
"""Bytes of a configuration; more than any in use."""
MOST_NODES = 20_000
"""Values of a YAML file."""
DEEPEST = 32
MOST_HEADER = 32 << 20
"""Bytes of a safetensors header."""
HEAD = 4_096
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]')
TABLE = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
KEY = re.compile(r"\s*(?:\"([^\"]+)\"|'([^']+)'|([\w.-]+))\s*=")

Path_ = tuple[str | int, ...]
"""The address of a value in a document."""


class SourceFile:
    """A file, read once. `InputError` where it cannot be read, or is no file."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.name = name or path.name
        try:
            with open_regular(path) as file:
                self.head = file.read(HEAD)
                self.kind = file_signatures.kind_of(self.head)
                rest = file.read(MOST_BYTES) if not self.kind else b""
        except IrregularFileError as error:
            raise InputError(
                f"{error.strerror}.", where=str(path), cure="Name the file of the configuration."
            ) from None
        except OSError as error:
            raise InputError(problem_of(error, str(path))) from None
        self.data = self.head + rest
        if not self.kind and len(self.data) > MOST_BYTES:
            raise InputError("is too large for a configuration of a training.", where=str(path))

    @cached_property
    def text(self) -> str:
        """The text; bytes that are no UTF-8 are read as Korean, else Western European."""
        for bom, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
            if self.data.startswith(bom):
                return self.data.decode(encoding, "replace")
        for encoding in ("utf-8", "cp949"):
            try:
                return self.data.decode(encoding)
            except UnicodeDecodeError:
                continue
        return self.data.decode("cp1252", "replace")

    @property
    def is_text(self) -> bool:
        """Whether the file is text."""
        if self.kind or not self.data.strip():
            return False
        sample = self.text[:HEAD]
        odd = sum(char < " " and char not in "\t\r\n\f\x1b" for char in sample) + sample.count("�")
        return odd <= len(sample) // 50

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of a safetensors file; `InputError` if its header is damaged."""
        found = self._header.get("__metadata__")
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    @cached_property
    def tensors(self) -> Sequence[str]:
        """The names of a safetensors file's tensors."""
        return [name for name in self._header if name != "__metadata__"]

    @cached_property
    def _header(self) -> Mapping[str, object]:
        length = int.from_bytes(self.head[:8], "little")
        damaged = InputError("is damaged: its header cannot be read.", where=self.name, cure="Copy it again.")
        if length > MOST_HEADER:
            raise damaged
        try:
            with open_regular(self.path) as file:
                found = json.loads(file.read(8 + length)[8:])
        except (OSError, ValueError, RecursionError):
            raise damaged from None
        return found if isinstance(found, dict) else {}

    @property
    def suffix(self) -> str:
        """The ending of the name, in small letters."""
        return self.path.suffix.lower()

    @cached_property
    def json(self) -> Mapping[str, object] | None:
        """The data of a JSON object; None if the file does not begin like one. `InputError` for a syntax error."""
        found = self._json("{")
        return found if isinstance(found, dict) else None

    @cached_property
    def json_list(self) -> Sequence[object]:
        """The items of a JSON list; empty if the file does not begin like one. `InputError` for a syntax error."""
        found = self._json("[")
        return found if isinstance(found, list) else []

    def _json(self, opening: str) -> object:
        if not self.is_text or not self.text.lstrip("\ufeff \t\r\n").startswith(opening):
            return None
        try:
            return json.loads(self.text)
        except json.JSONDecodeError as error:
            raise self.syntax_error("JSON", error.lineno, error.msg) from None
        except (RecursionError, ValueError):
            raise self.syntax_error("JSON", 1, "it is nested too deeply, or has a number that is too long") from None

    @cached_property
    def toml(self) -> Mapping[str, object]:
        """The data of a TOML file. `InputError` for a syntax error."""
        try:
            return tomllib.loads(self.text.replace("\r\n", "\n"))
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+)", str(error))
            raise self.syntax_error("TOML", int(found[1]) if found else 1, str(error).partition(" (at")[0]) from None
        except (RecursionError, ValueError):
            raise self.syntax_error("TOML", 1, "it is nested too deeply, or has a number that is too long") from None

    def yaml(self) -> tuple[object, dict[Path_, int]]:
        """Return the data of a YAML file and the lines of its values. `InputError` for a syntax error."""
        try:
            node = yaml.compose(self.text, Loader=yaml.SafeLoader)
            lines: dict[Path_, int] = {}
            return (_plain(node, (), lines) if node is not None else None), lines
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise self.syntax_error("YAML", line, error.problem or "it cannot be read") from None
        except (yaml.YAMLError, RecursionError, ValueError):
            raise self.syntax_error("YAML", 1, "it cannot be read, or is nested too deeply") from None

    def syntax_error(self, language: str, line: int, what: str) -> InputError:
        """Return the error for a file that cannot be parsed."""
        cure = "Mend this line, or export the file again."
        return InputError(f"is no valid {language}: {what}.", where=f"{self.name}:{line}", cure=cure)

    @cached_property
    def json_lines(self) -> dict[Path_, int]:
        """The line of every value of a JSON file, by its address."""
        return dict(_json_lines(self.text))

    @cached_property
    def toml_lines(self) -> dict[Path_, int]:
        """The line of every key of a TOML file, by its address; of tables in a list, with their number."""
        return dict(_toml_lines(self.text))


def _plain(node: yaml.Node, at: Path_, lines: dict[Path_, int]) -> object:
    """Return the plain data of a YAML node; `ValueError` for too much of it."""
    if len(lines) > MOST_NODES or len(at) > DEEPEST:
        raise ValueError("too much")
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, object] = {}
        for key, value in node.value:
            name = str(getattr(key, "value", ""))
            lines[(*at, name)] = key.start_mark.line + 1
            found[name] = _plain(value, (*at, name), lines)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, (*at, place), lines) for place, value in enumerate(node.value)]
    text = str(node.value)
    if node.tag == "tag:yaml.org,2002:str":
        return _float_or_text(text)
    return yaml.SafeLoader("").construct_object(node) if not text.startswith("!") else text


def _float_or_text(text: str) -> object:
    """Return `1e-4`, which YAML 1.1 takes for text, as a number."""
    return float(text) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", text) else text


def _json_lines(text: str) -> Iterator[tuple[Path_, int]]:
    at: list[str | int] = []
    opened: list[str] = []
    line, last, waiting = 1, 0, ""
    for found in TOKEN.finditer(text):
        line += text.count("\n", last, found.start())
        last = found.start()
        token = found[0]
        if token in "{[":
            opened.append(token)
            at.append(0 if token == "[" else "")
        elif token in "}]" and opened:
            opened.pop()
            at.pop()
        elif token == "," and opened and opened[-1] == "[":
            at[-1] = int(at[-1]) + 1
        elif token == ":" and at:
            at[-1] = waiting
            yield tuple(at), line
        elif token.startswith('"'):
            waiting = _unquoted(token)


def _unquoted(token: str) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        return token


def _toml_lines(text: str) -> Iterator[tuple[Path_, int]]:
    table: Path_ = ()
    counts: dict[Path_, int] = {}
    for number, row in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if found := TABLE.match(row):
            names = tuple(part.strip().strip("\"'") for part in found[2].split("."))
            table = _table_address(names, found[1] == "[[", counts)
        elif found := KEY.match(row):
            name = found[1] or found[2] or found[3]
            yield (*table, *(name.split(".") if found[3] else [name])), number


def _table_address(names: tuple[str, ...], is_list: bool, counts: dict[Path_, int]) -> Path_:
    at: Path_ = ()
    for place, name in enumerate(names):
        at = (*at, name)
        if is_list and place == len(names) - 1:
            counts[at] = counts.get(at, -1) + 1
        if at in counts:
            at = (*at, counts[at])
    return at

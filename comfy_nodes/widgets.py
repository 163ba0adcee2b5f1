"""A knob as a widget: what it looks like in a graph, and its value to and fro between widget and document.

ComfyUI has switches, numbers, choices and texts. What is none of these (lengths of training, lists, mappings, nothing at
all) is a text with a syntax, which the tooltip gives. A value that is the knob's default is left out of the document.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from lorapipe.errors import InputError
from lorapipe.pipeline.yaml_document import parse
from lorapipe.pipeline.yaml_values import scalar
from lorapipe.spec import Destination, Knob, Source, Value, plain

NOTHING = "default"
"""The choice that leaves a knob as it is where it may be nothing."""
ABSENT: Any = object()
"""Instead of a value: the document need not say it."""
LARGEST_WHOLE, LARGEST_NUMBER = 2**31 - 1, 1e9
"""ComfyUI takes 2048 for the largest number where it is not told another."""
SMALLEST_SHOWN = 1e-3
"""Numbers that are usually smaller are texts: `1e-8` is read more easily than 0.00000001."""

Coding = Literal["switch", "whole", "number", "choice", "shelf", "text", "path", "word", "numbers", "lines", "yaml"]
TEXTS: tuple[Coding, ...] = ("text", "path", "word", "numbers", "lines", "yaml")


@dataclass(frozen=True)
class Widget:
    """How a knob is shown. `usual` is its default in the document's form, ABSENT where it has none."""

    coding: Coding
    usual: Any
    optional: bool = False
    low: float = 0
    high: float = 0
    step: float = 1
    choices: tuple[Any, ...] = ()
    shelf: str = ""
    syntax: str = ""

    @property
    def default(self) -> Any:
        """The widget's value before anyone has touched it."""
        if self.usual is not ABSENT:
            return self.shown(self.usual)
        if self.coding in TEXTS:
            return ""
        return {"switch": False, "whole": int(self.low), "number": self.low}.get(
            self.coding, next(iter(self.words), "")
        )

    @property
    def multiline(self) -> bool:
        """Whether a text has a line for each thing in it."""
        return self.coding in ("lines", "yaml")

    @property
    def words(self) -> tuple[str, ...]:
        """The choices as texts; of a shelf, those that are no files."""
        return (*((NOTHING,) if self.optional else ()), *map(_word, self.choices))

    def shown(self, value: Any) -> Any:
        """A value of the document as the widget's."""
        if value is None:
            return NOTHING if self.coding in ("choice", "shelf") else "" if self.usual is None else "null"
        match self.coding:
            case "choice" | "word":
                return _word(value)
            case "numbers":
                return ", ".join(map(_word, value))
            case "lines":
                return "\n".join(map(_line, value))
            case "yaml":
                return _yaml(value)
        return value

    def read(self, shown: Any) -> Any:
        """The widget's value as the document's, or ABSENT. `InputError` where it cannot be read."""
        try:
            value = self._read(shown)
        except (TypeError, ValueError):
            raise InputError(f"{shown!r} is not a number.") from None
        same = value is not ABSENT and type(value) is type(self.usual) and value == self.usual
        return ABSENT if same else value

    def _read(self, shown: Any) -> Any:
        if shown is None or (self.optional and shown in ("", NOTHING)):
            return ABSENT
        match self.coding:
            case "whole":
                return int(shown)
            case "number":
                return float(f"{float(shown):.12g}")  # the page counts in steps: 900 times 0.001 is not 0.9
            case "choice":
                return next((choice for choice in self.choices if _word(choice) == str(shown)), shown)
            case "word":
                return ABSENT if str(shown).strip() == "" else _literal(scalar(str(shown).strip()))
            case "numbers":
                return [scalar(part) for part in re.split(r"[,\s]+", str(shown).strip(" []\t\n")) if part]
            case "lines":
                return [_literal(_unquoted(line.strip())) for line in str(shown).split("\n") if line.strip()]
            case "yaml":
                return _mapping(str(shown)) if str(shown).strip() else ABSENT
            case "path" | "shelf":
                return str(shown).strip() or ABSENT
        return _literal(shown)


def widget(knob: Knob) -> Widget:
    """The widget of a knob that is no socket."""
    kind, optional = without_nothing(knob.type)
    usual = ABSENT if knob.required else plain(knob.default())
    limits = knob.param
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal or (kind is bool and optional):
        return Widget("choice", usual, optional, choices=inner or (True, False))
    if kind is bool:
        return Widget("switch", usual)
    if kind in (int, float) and not optional and not _tiny(usual):
        low, high = (_limit(limits.ge, limits.gt, kind, -1), _limit(limits.le, limits.lt, kind, 1))
        return Widget("whole" if kind is int else "number", usual, low=low, high=high, step=_step(kind, usual, high))
    if kind in (int, float):
        words = "A number, such as 1e-4." if kind is float else "A whole number."
        return Widget("word", usual, optional, syntax=words + _nothing(optional, usual))
    if kind is str:
        return Widget("text", usual, optional)
    if isinstance(kind, type) and issubclass(kind, Source):
        coding: Coding = "shelf" if limits.shelf else "path"
        return Widget(coding, usual, optional, choices=kind.words, shelf=limits.shelf, syntax=_nothing(optional, usual))
    if kind in (Path, Destination):
        return Widget("path", usual, optional, syntax=_nothing(optional, usual))
    if isinstance(kind, type) and issubclass(kind, Value):
        syntax = (kind.__doc__ or "").partition("\n")[0]
        return Widget("word", usual, optional, syntax=syntax + _nothing(optional, usual))
    if origin in (tuple, list) and inner[0] in (int, float):
        return Widget("numbers", usual, optional, syntax="Numbers, with commas between them.")
    if origin in (tuple, list) and inner[0] is str:
        return Widget("lines", usual, optional, syntax="One a line.")
    return Widget("yaml", usual, optional, syntax="As in a pipeline file, one a line: name: value.")


def without_nothing(kind: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it had one."""
    if typing.get_origin(kind) in (Union, types.UnionType):
        return next(k for k in typing.get_args(kind) if k is not type(None)), True
    return kind, False


def _nothing(optional: bool, usual: Any) -> str:
    if not optional:
        return ""
    return " Empty: as the default." if usual is None else " Empty: as the default; null: none."


def _tiny(usual: Any) -> bool:
    return isinstance(usual, float) and 0 < abs(usual) < SMALLEST_SHOWN


def _limit(inclusive: float | None, exclusive: float | None, kind: Any, sign: int) -> float:
    """A limit of a widget. One that is itself excluded is for the document's own reader to refuse."""
    found = inclusive if inclusive is not None else exclusive
    return found if found is not None else sign * (LARGEST_WHOLE if kind is int else LARGEST_NUMBER)


def _step(kind: Any, usual: Any, high: float) -> float:
    """Of a click, and thereby how many decimals are shown: four where all of the range is below 1."""
    if kind is int:
        return 1
    decimals = len(f"{usual:f}".rstrip("0").partition(".")[2]) if isinstance(usual, float) else 0
    return float(f"1e-{max(decimals, 4 if high <= 1 else 2)}")


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(text: str) -> str:
    """A text on a line of its own; in quotes, as JSON, where it would not come back as it is."""
    return text if text and text == text.strip() == _unquoted(text) and "\n" not in text else json.dumps(text)


def _unquoted(line: str) -> str:
    if len(line) > 1 and line[0] == line[-1] == '"':
        try:
            return str(json.loads(line))
        except ValueError:
            return line
    return line


def _literal(value: Any) -> Any:
    """Text of a widget as text of a document, in which `${name}` would be a variable."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value


def _mapping(text: str) -> Any:
    try:
        return _literal(parse(text, "").value)
    except InputError as error:
        raise InputError("; ".join(problem.what for problem in error.problems)) from None


def _yaml(value: Any) -> str:
    """A mapping a line for each key; all else as JSON, which is YAML too."""
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    key_words = ((key if re.fullmatch(r"[A-Za-z]\w*", key) else json.dumps(key)) for key in value)
    return "\n".join(
        f"{key}: {json.dumps(item, ensure_ascii=False)}" for key, item in zip(key_words, value.values(), strict=True)
    )


def is_list(kind: Any) -> bool:
    """Whether a type is a list of something."""
    return typing.get_origin(kind) in (tuple, list)


def item_of(kind: Any) -> Any:
    """What a list is of."""
    return typing.get_args(kind)[0]

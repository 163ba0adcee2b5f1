"""A knob as a widget: what it looks like in a graph, and its value to and fro between widget and document.

ComfyUI has switches, numbers, choices and texts. What is none of these (lengths of training, lists, mappings, nothing at
all) is a text with a syntax, which the tooltip gives. A value that is the knob's default is left out of the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lorapipe.errors import InputError
from lorapipe.pipeline.yaml_document import parse
from lorapipe.pipeline.yaml_values import scalar
from lorapipe.spec import Knob, Param, Shape, Source, plain

NOTHING = "default"
"""The choice that leaves a knob as it is where it may be nothing."""
ABSENT: Any = object()
"""Instead of a value: the document need not say it."""
LARGEST_WHOLE, LARGEST_NUMBER = 2**31 - 1, 1e9
"""ComfyUI takes 2048 for the largest number where it is not told another."""
SMALLEST_SHOWN = 1e-3
"""Numbers that are usually smaller are texts: `1e-8` is read more easily than 0.00000001."""

Coding = Literal["switch", "whole", "number", "choice", "shelf", "text", "path", "word", "numbers", "lines", "yaml"]
LISTS: dict[str, tuple[Coding, str]] = {
    "integer": ("numbers", "Numbers, with commas between them."),
    "number": ("numbers", "Numbers, with commas between them."),
    "text": ("lines", "One a line."),
}
"""How lists of these kinds are written."""
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

    def shown(self, value: object) -> object:
        """A value of the document as the widget's."""
        if value is None:
            return NOTHING if self.coding in ("choice", "shelf") else "" if self.usual is None else "null"
        written = SHOWN.get(self.coding)
        return value if written is None else written(value)

    def read(self, shown: object) -> Any:
        """The widget's value as the document's, or ABSENT. `InputError` where it cannot be read."""
        try:
            value = self._read(shown)
        except (TypeError, ValueError):
            raise InputError(f"{shown!r} is not a number.") from None
        same = value is not ABSENT and type(value) is type(self.usual) and value == self.usual
        return ABSENT if same else value

    def _read(self, shown: object) -> object:
        if shown is None or (self.optional and shown in ("", NOTHING)):
            return ABSENT
        if self.coding == "choice":
            return next((choice for choice in self.choices if _word(choice) == str(shown)), shown)
        read = READ.get(self.coding)
        return _literal(shown) if read is None else read(shown)


def widget(knob: Knob) -> Widget:
    """The widget of a knob that is no socket."""
    shape, usual = knob.shape, ABSENT if knob.required else plain(knob.default())
    optional = shape.optional
    nothing = _nothing(optional, usual)
    match shape.kind:
        case "choice":
            return Widget("choice", usual, optional, choices=shape.choices)
        case "boolean":
            return Widget("choice", usual, True, choices=(True, False)) if optional else Widget("switch", usual)
        case "integer" | "number":
            return _number(shape, usual, knob.param)
        case "text":
            return Widget("text", usual, optional)
        case "source":
            return _source(shape, usual, knob.param.shelf)
        case "path" | "destination":
            return Widget("path", usual, optional, syntax=nothing)
        case "value":
            syntax = (shape.value.__doc__ or "").partition("\n")[0]
            return Widget("word", usual, optional, syntax=syntax + nothing)
        case "list" if shape.item.kind in LISTS:
            coding, syntax = LISTS[shape.item.kind]
            return Widget(coding, usual, optional, syntax=syntax)
    return Widget("yaml", usual, optional, syntax="As in a pipeline file, one a line: name: value.")


def _number(shape: Shape, usual: Any, limits: Param) -> Widget:
    """A field with arrows; a text where nothing may be said, or where the number is usually tiny."""
    whole = shape.kind == "integer"
    if shape.optional or _tiny(usual):
        words = "A whole number." if whole else "A number, such as 1e-4."
        return Widget("word", usual, shape.optional, syntax=words + _nothing(shape.optional, usual))
    largest = LARGEST_WHOLE if whole else LARGEST_NUMBER
    low, high = _limit(limits.ge, limits.gt, -largest), _limit(limits.le, limits.lt, largest)
    return Widget("whole" if whole else "number", usual, low=low, high=high, step=1 if whole else _step(usual, high))


def _source(shape: Shape, usual: Any, shelf: str) -> Widget:
    """A path, or a choice of what is on one of ComfyUI's shelves, beside the words that the type takes."""
    assert issubclass(shape.value, Source)
    syntax = _nothing(shape.optional, usual)
    coding: Coding = "shelf" if shelf else "path"
    return Widget(coding, usual, shape.optional, choices=shape.value.words, shelf=shelf, syntax=syntax)


def _nothing(optional: bool, usual: Any) -> str:
    if not optional:
        return ""
    return " Empty: as the default." if usual is None else " Empty: as the default; null: none."


def _tiny(usual: Any) -> bool:
    return isinstance(usual, float) and 0 < abs(usual) < SMALLEST_SHOWN


def _limit(inclusive: float | None, exclusive: float | None, largest: float) -> float:
    """A limit of a widget. One that is itself excluded is for the document's own reader to refuse."""
    found = inclusive if inclusive is not None else exclusive
    return found if found is not None else largest


def _step(usual: Any, high: float) -> float:
    """Of a click, and thereby how many decimals are shown: four where all of the range is below 1."""
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


def _read_number(shown: Any) -> float:
    return float(f"{float(shown):.12g}")  # the page counts in steps: 900 times 0.001 is not 0.9


def _read_word(shown: Any) -> object:
    return ABSENT if str(shown).strip() == "" else _literal(scalar(str(shown).strip()))


def _read_numbers(shown: Any) -> list[object]:
    return [scalar(part) for part in re.split(r"[,\s]+", str(shown).strip(" []\t\n")) if part]


def _read_lines(shown: Any) -> list[object]:
    return [_literal(_unquoted(line.strip())) for line in str(shown).split("\n") if line.strip()]


def _read_mapping(shown: Any) -> object:
    return _mapping(str(shown)) if str(shown).strip() else ABSENT


def _read_path(shown: Any) -> object:
    return str(shown).strip() or ABSENT


SHOWN: dict[Coding, Callable[[Any], str]] = {
    "choice": _word,
    "word": _word,
    "numbers": lambda values: ", ".join(map(_word, values)),
    "lines": lambda values: "\n".join(map(_line, values)),
    "yaml": _yaml,
}
"""How a document's value becomes a widget's, where it does not stay as it is."""
READ: dict[Coding, Callable[[Any], object]] = {
    "whole": int,
    "number": _read_number,
    "word": _read_word,
    "numbers": _read_numbers,
    "lines": _read_lines,
    "yaml": _read_mapping,
    "path": _read_path,
    "shelf": _read_path,
}
"""How a widget's value becomes a document's."""

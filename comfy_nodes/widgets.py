"""Knobs as widgets of ComfyUI: the kind of widget, and the conversion of values between widget and document.

ComfyUI has switches, numbers, choices and texts. Other types (durations, lists, mappings, optional values) are texts with a
syntax, which the tooltip gives. A value that equals the knob's default is left out of the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lorapipe.errors import InputError
from lorapipe.pipeline.variables import literal
from lorapipe.pipeline.yaml_document import parse
from lorapipe.pipeline.yaml_values import scalar
from lorapipe.spec import Knob, Param, Shape, Source, plain
from lorapipe.spec.shapes import Scalar

NOTHING = "default"
"""The choice that leaves an optional knob at its default."""
ABSENT: Any = object()
"""Marks a value that is left out of the document."""
LARGEST_WHOLE, LARGEST_NUMBER = 2**31 - 1, 1e9
"""Limits of numbers without their own: ComfyUI's default limit is 2048."""
SMALLEST_SHOWN = 1e-3
"""Knobs with a smaller default are texts: `1e-8` is easier to read than 0.00000001."""

Coding = Literal["switch", "whole", "number", "choice", "shelf", "text", "path", "word", "numbers", "lines", "yaml"]
LISTS: dict[str, tuple[Coding, str]] = {
    "integer": ("numbers", "With commas between them."),
    "number": ("numbers", "With commas between them."),
    "text": ("lines", "One per line."),
}
"""Item kind of a list → its widget coding and syntax."""
OTHER_LINKS: dict[Coding, tuple[str, ...]] = {
    "number": ("INT",),
    "choice": ("STRING", "INT", "FLOAT", "BOOLEAN"),
    "shelf": ("STRING",),
    "word": ("INT", "FLOAT"),
    "numbers": ("INT", "FLOAT"),
}
"""Types of links that a widget's input takes besides the type of the widget itself. Every value is parsed."""
TEXTS: tuple[Coding, ...] = ("text", "path", "word", "numbers", "lines", "yaml")


@dataclass(frozen=True)
class Widget:
    """The widget of a knob. `default` is the knob's default in document form, ABSENT if it has none."""

    coding: Coding
    default: object
    optional: bool = False
    low: float = 0
    high: float = 0
    step: float = 1
    choices: tuple[Scalar, ...] = ()
    shelf: str = ""
    syntax: str = ""

    @property
    def initial(self) -> object:
        """The initial value of the widget."""
        if self.default is not ABSENT:
            return self.to_widget(self.default)
        if self.coding in TEXTS:
            return ""
        return {"switch": False, "whole": int(self.low), "number": self.low}.get(
            self.coding, next(iter(self.words), "")
        )

    @property
    def multiline(self) -> bool:
        """Whether the text has several lines."""
        return self.coding in ("lines", "yaml")

    @property
    def words(self) -> tuple[str, ...]:
        """The choices as texts; for a shelf, those that are not files."""
        return (*((NOTHING,) if self.optional else ()), *map(_word, self.choices))

    def to_widget(self, value: object) -> object:
        """Convert a document's value to the widget's."""
        if value is None:
            return NOTHING if self.coding in ("choice", "shelf") else "" if self.default is None else "null"
        if self.coding == "yaml" and not value and value == self.default:
            return ""
        written = TO_WIDGET.get(self.coding)
        return value if written is None else written(value)

    def from_widget(self, shown: object) -> object:
        """Convert the widget's value to the document's, or ABSENT. `InputError` if it cannot be parsed."""
        try:
            value = self._from_widget(shown)
        except (TypeError, ValueError):
            raise InputError(f"{shown!r} is not a number.") from None
        same = value is not ABSENT and type(value) is type(self.default) and value == self.default
        return ABSENT if same else value

    def _from_widget(self, shown: object) -> object:
        if shown is None or (self.optional and shown in ("", NOTHING)):
            return ABSENT
        if self.coding == "choice":
            return next((choice for choice in self.choices if _word(choice) == _word(shown)), shown)
        read = FROM_WIDGET.get(self.coding)
        return _literal(shown) if read is None else read(shown)


def widget(knob: Knob) -> Widget:
    """Return the widget of a knob that is not a socket."""
    shape, default = knob.shape, ABSENT if knob.required else plain(knob.default())
    optional = shape.optional
    nothing = _nothing(optional, default)
    match shape.kind:
        case "choice":
            return Widget("choice", default, optional, choices=shape.choices)
        case "boolean":
            return Widget("choice", default, True, choices=(True, False)) if optional else Widget("switch", default)
        case "integer" | "number":
            return _number(shape, default, knob.param)
        case "text":
            return Widget("text", default, optional)
        case "source":
            return _source(shape, default, knob.param.shelf)
        case "path" | "destination":
            return Widget("path", default, optional, syntax=nothing)
        case "value":
            syntax = (shape.value.__doc__ or "").partition("\n")[0]
            return Widget("word", default, optional, syntax=syntax + nothing)
        case "list" if shape.item.kind in LISTS:
            coding, syntax = LISTS[shape.item.kind]
            return Widget(coding, default, optional, syntax=syntax)
    return Widget("yaml", default, optional, syntax="As in a pipeline file, one per line: name: value.")


def _number(shape: Shape, default: object, limits: Param) -> Widget:
    """Return a number field; a text if the knob is optional or its default is tiny."""
    whole = shape.kind == "integer"
    if shape.optional or _tiny(default):
        return Widget("word", default, shape.optional, syntax=_nothing(shape.optional, default))
    largest = LARGEST_WHOLE if whole else LARGEST_NUMBER
    low, high = _limit(limits.ge, limits.gt, -largest), _limit(limits.le, limits.lt, largest)
    return Widget(
        "whole" if whole else "number", default, low=low, high=high, step=1 if whole else _step(default, high)
    )


def _source(shape: Shape, default: object, shelf: str) -> Widget:
    """Return a text field for a path, or a choice among ComfyUI's files of a kind and the words that the type allows."""
    assert issubclass(shape.value, Source)
    syntax = _nothing(shape.optional, default)
    coding: Coding = "shelf" if shelf else "path"
    return Widget(coding, default, shape.optional, choices=shape.value.words, shelf=shelf, syntax=syntax)


def _nothing(optional: bool, default: object) -> str:
    if not optional:
        return ""
    return " Null: leave it empty." if default is None else " Empty: the default; null: none."


def _tiny(default: object) -> bool:
    return isinstance(default, float) and 0 < abs(default) < SMALLEST_SHOWN


def _limit(inclusive: float | None, exclusive: float | None, largest: float) -> float:
    """Return a limit of a widget. The document's parser refuses a value at an exclusive limit."""
    found = inclusive if inclusive is not None else exclusive
    return found if found is not None else largest


def _step(default: object, high: float) -> float:
    """Return the step of a click, which sets the decimals shown: at least two, four if the range ends at 1 or below."""
    decimals = len(f"{default:f}".rstrip("0").partition(".")[2]) if isinstance(default, float) else 0
    return float(f"1e-{max(decimals, 4 if high <= 1 else 2)}")


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(text: str) -> str:
    """Return a text as one line; as JSON, in quotes, if it would otherwise be parsed to another text."""
    return text if text and text == text.strip() == _unquoted(text) and "\n" not in text else json.dumps(text)


def _unquoted(line: str) -> str:
    if len(line) > 1 and line[0] == line[-1] == '"':
        try:
            return str(json.loads(line))
        except ValueError:
            return line
    return line


def _literal(value: object) -> object:
    """Escape the text of a widget for a document, where `${name}` would be a variable."""
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value


def _mapping(text: str) -> object:
    try:
        return _literal(parse(text, "").value)
    except InputError as error:
        raise InputError("; ".join(problem.what for problem in error.problems)) from None


def _yaml(value: object) -> str:
    """Return a mapping with one line per key; other values as JSON, which is valid YAML."""
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    key_words = ((key if re.fullmatch(r"[A-Za-z]\w*", key) else json.dumps(key)) for key in value)
    return "\n".join(
        f"{key}: {json.dumps(item, ensure_ascii=False)}" for key, item in zip(key_words, value.values(), strict=True)
    )


def _read_whole(shown: object) -> object:
    number = float(str(shown))
    return int(number) if number.is_integer() else number  # the parser of the document refuses a fraction


def _read_number(shown: object) -> float:
    return float(f"{float(str(shown)):.12g}")  # the page multiplies steps, and 900 times 0.001 is not 0.9


def _read_word(shown: object) -> object:
    return ABSENT if str(shown).strip() == "" else _literal(scalar(str(shown).strip()))


def _read_numbers(shown: object) -> list[object]:
    return [scalar(part) for part in re.split(r"[,\s]+", str(shown).strip(" []\t\n")) if part]


def _read_lines(shown: object) -> list[object]:
    return [_literal(_unquoted(line.strip())) for line in str(shown).split("\n") if line.strip()]


def _read_mapping(shown: object) -> object:
    return _mapping(str(shown)) if str(shown).strip() else ABSENT


def _read_path(shown: object) -> object:
    return str(shown).strip() or ABSENT


TO_WIDGET: dict[Coding, Callable[[Any], str]] = {
    "choice": _word,
    "word": _word,
    "numbers": lambda values: ", ".join(map(_word, values)),
    "lines": lambda values: "\n".join(map(_line, values)),
    "yaml": _yaml,
}
"""Conversions of document values to widget values, for codings that need one."""
FROM_WIDGET: dict[Coding, Callable[[Any], object]] = {
    "whole": _read_whole,
    "number": _read_number,
    "word": _read_word,
    "numbers": _read_numbers,
    "lines": _read_lines,
    "yaml": _read_mapping,
    "path": _read_path,
    "shelf": _read_path,
}
"""Conversions of widget values to document values."""

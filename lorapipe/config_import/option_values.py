"""The values of options by kohya's names, converted to their types, and what became of each option."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from lorapipe.config_import.configuration import Kind, Option, Outcome
from lorapipe.config_import.option_table import ALIASES, ROWS, Type, row_of
from lorapipe.errors import near_miss, shortened

ARGUMENTS = ("network_args", "optimizer_args", "lr_scheduler_args")
"""Options whose values are arguments, `conv_dim=4`, each of which counts as an option."""
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
STRENGTH: Mapping[Kind, int] = {"unknown": 0, "no effect": 1, "translated": 2, "used": 3, "refused": 4}
"""Of several outcomes of one option, as folders with different settings give, the one with the highest number counts."""


class Ledger:
    """What became of each option."""

    def __init__(self) -> None:
        self._found: dict[int, Outcome] = {}

    def settle(self, option: Option, kind: Kind, text: str) -> None:
        """Say what became of an option; of two outcomes, the one that matters more stays (`STRENGTH`)."""
        before = self._found.get(id(option))
        if before is None or STRENGTH[kind] > STRENGTH[before.kind]:
            self._found[id(option)] = Outcome(kind, text)

    def of(self, option: Option) -> Outcome | None:
        """Return what became of an option; None if nobody has said so yet."""
        return self._found.get(id(option))


class Options:
    """Options that apply together: of a folder of pictures, then of its dataset, then of the training."""

    def __init__(self, layers: Sequence[Mapping[str, Option]], implied: Mapping[str, object], ledger: Ledger) -> None:
        self.layers = layers
        self.implied = implied
        self.ledger = ledger

    def over(self, *layers: Mapping[str, Option]) -> Options:
        """Return the options with others before them."""
        return Options([*layers, *self.layers], self.implied, self.ledger)

    def option(self, name: str) -> Option | None:
        """Return the option that counts."""
        return next((layer[name] for layer in self.layers if name in layer), None)

    def given(self, *names: str) -> bool:
        """Whether one of the options is written, with a value that was understood."""
        return any(self.option(name) is not None for name in names)

    def value(self, name: str) -> object:
        """Return the value; None where it is not written."""
        option = self.option(name)
        return self.implied.get(name) if option is None else option.value

    def number(self, name: str, usual: float | None = None) -> float | None:
        """Return a number."""
        value = self.value(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else usual

    def whole(self, name: str, usual: int = 0) -> int:
        """Return a whole number."""
        value = self.value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else usual

    def flag(self, name: str) -> bool:
        """Return whether a flag is set."""
        return self.value(name) is True

    def text(self, name: str, usual: str = "") -> str:
        """Return a text."""
        value = self.value(name)
        return value if isinstance(value, str) else usual

    def under(self, prefix: str) -> dict[str, str]:
        """Return the arguments inside an option: `{"conv_dim": "4"}`."""
        names = dict.fromkeys([*self.implied, *(name for layer in self.layers for name in layer)])
        inside = [name for name in names if name.startswith(f"{prefix}.")]
        return {name.partition(".")[2]: str(self.value(name)) for name in inside}

    def settle(self, name: str, kind: Kind, text: str) -> None:
        """Say what became of an option, if it is written."""
        if (option := self.option(name)) is not None:
            self.ledger.settle(option, kind, text)

    def mark(self, *names: str, usual: str = "") -> str:
        """Return a comment that says where a value comes from: `network_dim (train.sh:12)`."""
        found = [f"{option.written} ({option.place})" for name in names if (option := self.option(name))]
        return ", ".join(found) or usual


def layer_of(options: Iterable[Option], ledger: Ledger, is_lenient: bool) -> dict[str, Option]:
    """Return options by name with values of the right type; those that cannot be used are settled.

    `is_lenient`: the original ignores names that it does not know, instead of stopping.
    """
    layer: dict[str, Option] = {}
    for option in options:
        if option.outcome is not None:
            ledger.settle(option, option.outcome.kind, option.outcome.text)
            continue
        kept = _checked(option, ledger, is_lenient)
        if kept is None:
            continue
        if (before := layer.get(kept.name)) is not None:
            ledger.settle(before, "no effect", f"given again in {kept.place}, which counts")
        layer[kept.name] = kept
    return layer


def expanded(options: Iterable[Option]) -> list[Option]:
    """Return the options with the arguments inside `network_args` and the like as options of their own."""
    found: list[Option] = []
    for option in options:
        name = ALIASES.get(option.name, option.name)
        if name in ARGUMENTS and option.outcome is None and not option.unresolved:
            found += _arguments(name, option)
        else:
            found.append(option)
    return found


def _arguments(name: str, option: Option) -> list[Option]:
    given = option.value
    items = given if isinstance(given, list) else [given] if isinstance(given, dict) else str(given or "").split()
    pairs: list[tuple[str, object]] = []
    for item in items:
        if isinstance(item, dict):
            pairs += [(str(key), value) for key, value in item.items()]
        else:
            for part in str(item).split() or [""]:
                key, _, value = part.partition("=")
                pairs.append((key.strip(), value.strip().strip("\"'")))
    made = [
        Option(f"{name}.{key}", value, f"{option.written} {key}", option.file, option.line)
        for key, value in pairs
        if key
    ]
    return made or [_settled(option, "no effect", "is empty")]


def _settled(option: Option, kind: Kind, text: str) -> Option:
    outcome = Outcome(kind, text)
    return Option(option.name, option.value, option.written, option.file, option.line, option.unresolved, outcome)


def _checked(option: Option, ledger: Ledger, is_lenient: bool) -> Option | None:
    """Return the option if its name is known and its value can be used; settle it otherwise."""
    name = ALIASES.get(option.name, option.name)
    row = row_of(name)
    if row is None:
        ledger.settle(option, "unknown", unknown(option.name, is_lenient))
        return None
    if option.unresolved:
        ledger.settle(option, "refused", f"its value depends on {option.unresolved}; write it in the pipeline")
        return None
    if option.value is None or option.value == "" or option.value == []:
        ledger.settle(option, "no effect", "is empty")
        return None
    value = converted(option.value, row.type)
    if value is None:
        words = {"flag": "true or false", "whole": "a whole number", "number": "a number"}
        said = shortened(repr(option.value), 60)
        ledger.settle(option, "refused", f"{said} is not {words.get(row.type, 'a text')}; write it in the pipeline")
        return None
    option.name, option.value = name, value
    return option


@cache
def unknown(name: str, is_lenient: bool) -> str:
    """Say that an option is unknown, what the original does about it, and which is meant."""
    cure = near_miss(name, [each for each in ROWS if "." not in each])
    theirs = "the original ignores it without a word" if is_lenient else "the original stops at it"
    return f"no such option: {theirs}.{f' {cure}' if cure.startswith('Did') else ''}"


def converted(value: object, type: Type) -> object:
    """Return a value as a type; None if it is not one. `lr_warmup_steps` and others that take several are texts."""
    if type == "flag":
        said = str(value).strip().lower()
        return True if said in TRUE else False if said in FALSE else None
    if type in ("whole", "number"):
        found = _number(value)
        if found is None or type == "number":
            return found
        return int(found) if found.is_integer() else None
    if type == "list":
        return _items(value)
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _items(value: object) -> list[object] | None:
    """Return the items of a list, or of a text with commas or spaces between them; None if there are none."""
    items = value if isinstance(value, list) else re.split(r"[\s,]+", str(value).strip().strip("[]()"))
    return [each for each in items if each != ""] or None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value.strip().strip("\"'").replace("_", "") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and abs(found) <= 1e15 else None


def literal(text: str) -> object:
    """Return an argument's value as Python reads it, as kohya does: numbers, True, tuples; else the text."""
    if len(text) > 2_000:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)

"""Bash's words: where they end, and their expansion (quotes, variables, arithmetic). Programs are not run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorapipe.config_import.shells import LONGEST, MOST_TURNS, MOST_WORDS, ShellSyntaxError, Word
from lorapipe.config_import.shells._arithmetic import evaluate, spelled

OPERATORS = ("&&", "||", ";;", ">>", "<<<", "<<", "2>&1", ";", "|", "&", "(", ")", ">", "<", "\n")
HERE = re.compile(r"<<(-?)\s*([\"']?)(\w+)\2")
VARIABLE = re.compile(
    r"\$(?:\{([#!]?)([A-Za-z_]\w*|\d+|[@*])(?:\[([@*]|\d+)\])?([^{}]*)\}|([A-Za-z_]\w*)|([@*#?$!0-9]))"
)
CALCULATION = re.compile(r"\s*echo\s+[\"']?([^\"'|;]*)[\"']?\s*\|\s*bc(?:\s+-l)?\s*|\s*expr\s+(.*)", re.DOTALL)
PYTHON = re.compile(r"\s*python3?\s+-c\s+[\"']print\((.*)\)[\"']\s*", re.DOTALL)
SEQUENCE = re.compile(r"\s*seq((?:\s+-?\d+){1,3})\s*")
CLOSING = {"(": ")", "{": "}"}


@dataclass(frozen=True)
class Token:
    """An operator, or a word as it is written."""

    raw: str
    line: int
    operator: bool = False


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a script. `ShellSyntaxError` for a quote or bracket that is not closed."""
    found: list[Token] = []
    place, line = 0, 1
    documents: list[str] = []
    while place < len(text):
        char = text[place]
        if text.startswith("\\\n", place):
            place, line = place + 2, line + 1
        elif char in " \t\r":
            place += 1
        elif char == "#":
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
        elif operator := next((each for each in OPERATORS if text.startswith(each, place)), ""):
            found.append(Token(operator, line, True))
            if operator == "<<" and (here := HERE.match(text, place)):
                documents.append(here[3])
            place += len(operator)
            line += operator == "\n"
            if operator == "\n":
                after = _after_documents(text, place, documents)
                line, place = line + text.count("\n", place, after), after
        else:
            end = _end_of_word(text, place, line)
            found.append(Token(text[place:end], line))
            line += text.count("\n", place, end)
            place = end
    return found


def _after_documents(text: str, place: int, documents: list[str]) -> int:
    """Return the place after the texts (`<<`) that begin here; `documents` are the words that end them, and is emptied."""
    while documents:
        last = re.compile(rf"^\t*{documents.pop(0)}$", re.MULTILINE).search(text, place)
        place = last.end() if last else len(text)
    return place


def _end_of_word(text: str, place: int, line: int) -> int:
    """Return where a word ends: at a space or an operator outside quotes and brackets."""
    start = place
    while place < len(text):
        char = text[place]
        if char == "\\":
            place += 2
        elif char in "\"'`":
            place = _closing(text, place, line + text.count("\n", start, place))
        elif char == "$" and text[place + 1 : place + 2] in ("(", "{"):
            place = _closing(text, place + 1, line + text.count("\n", start, place))
        elif char == "(" and text[start:place].endswith("="):  # an array
            place = _closing(text, place, line + text.count("\n", start, place))
        elif char in " \t\r\n;|&()<>":
            break
        else:
            place += 1
    return min(place, len(text))


def _closing(text: str, place: int, line: int) -> int:
    """Return the place after the quote or bracket that begins here."""
    opening = text[place]
    wanted, place, deep = CLOSING.get(opening, opening), place + 1, 1
    while place < len(text):
        char = text[place]
        if char == "\\" and opening != "'":
            place += 2
            continue
        place += 1
        if char == wanted:
            deep -= 1
            if not deep:
                return place
        elif opening in CLOSING and char == opening:
            deep += 1
        elif opening in CLOSING and char in "\"'":
            place = _closing(text, place - 1, line)
    raise ShellSyntaxError(line, f"{'a quote' if opening in chr(34) + chr(39) + '`' else opening} is not closed")


@dataclass
class Field:
    """A word while it is put together."""

    text: str
    line: int


class Expansion:
    """Expands words with the variables of a script."""

    def __init__(self, variables: Mapping[str, Sequence[Word]]) -> None:
        self.variables = variables

    def words(self, token: Token) -> list[Word]:
        """Return the words that a token gives: none for an empty variable, several for an array."""
        fields = [Field("", token.line)]
        unknown, kept = "", False
        for text, quoted, missing, array in self._pieces(token.raw, token.line):
            unknown = unknown or missing or _unknown(array or ())
            kept |= quoted or bool(array)
            _add(fields, text, quoted, array, token.line)
        if len(fields) > MOST_WORDS:
            raise ShellSyntaxError(token.line, "an array is too long")
        words = [Word(field.text[:LONGEST], field.line, unknown) for field in fields]
        return words if unknown or kept else [word for word in words if word.text]

    def text(self, token: Token) -> Word:
        """Return a token as one word, without splitting, as in an assignment."""
        pieces = list(self._pieces(token.raw, token.line))
        text = "".join(
            " ".join(word.text for word in array) if array is not None else text for text, _, _, array in pieces
        )
        return Word(text[:LONGEST], token.line, next((missing for _, _, missing, _ in pieces if missing), ""))

    def _pieces(self, raw: str, line: int) -> list[tuple[str, bool, str, Sequence[Word] | None]]:
        """Return pieces of a word: text, whether it is quoted, what is unknown in it, and the array that it stands for."""
        found: list[tuple[str, bool, str, Sequence[Word] | None]] = []
        place, quoted = 0, False
        while place < len(raw):
            char = raw[place]
            if char == '"':
                quoted = not quoted
                found.append(("", True, "", None))
                place += 1
            elif char == "'" and not quoted:
                end = raw.find("'", place + 1)
                found.append((raw[place + 1 : end], True, "", None))
                place = end + 1
            elif char == "\\":
                kept = raw[place + 1 : place + 2]
                plain = kept if not quoted or kept in '"\\$`' else f"\\{kept}"
                found.append(("" if kept == "\n" else plain, True, "", None))
                place += 2
            elif char in "$`" and (piece := self._substituted(raw, place, quoted)):
                found.append(piece[0])
                place = piece[1]
            else:
                found.append((char, quoted or char not in " \t\n", "", None))
                place += 1
        return found

    def _substituted(
        self, raw: str, place: int, quoted: bool
    ) -> tuple[tuple[str, bool, str, Sequence[Word] | None], int] | None:
        """Return the piece that a `$…` or a command in backticks gives, and where it ends; None for a plain `$`."""
        if raw[place] == "`" or raw.startswith("$(", place):
            end = _closing(raw, place + (raw[place] == "$"), 0)
            inner = raw[place + 1 : end - 1] if raw[place] == "`" else raw[place + 2 : end - 1]
            return self._program(inner, quoted), end
        found = VARIABLE.match(raw, place)
        if found is None:
            return None
        mark, name, index, rest = found[1] or "", found[2] or found[5] or found[6], found[3], found[4] or ""
        return self._variable(name, index, mark, rest, quoted), found.end()

    def _program(self, inner: str, quoted: bool) -> tuple[str, bool, str, None]:
        """Return the result of arithmetic, also by bc, expr and Python's print; other programs' output is unknown."""
        printed = self._printed(inner)
        if printed is not None:
            return printed, quoted, "", None
        return "", True, f"the output of `{' '.join(inner.split())[:80]}`", None

    def _printed(self, inner: str) -> str | None:
        """Return what arithmetic or `seq` gives; None if it is another program, or something in it is unknown."""
        if inner.split()[:1] == ["seq"]:
            numbers = SEQUENCE.fullmatch(self.text(Token(f'"{inner}"', 0)).text)
            return _sequence([int(each) for each in numbers[1].split()]) if numbers else None
        whole = inner.startswith("(") and inner.endswith(")")
        formula = inner[1:-1] if whole else _formula(inner)
        if not formula:
            return None
        named = re.sub(r"(?<![\w$])([A-Za-z_]\w*)", r"$\1", formula) if whole else formula
        word = self.text(Token(named.replace('"', "").replace("'", ""), 0))
        value = None if word.unknown else evaluate(word.text, whole or inner.lstrip().startswith("expr"))
        return None if value is None else spelled(value)

    def _variable(
        self, name: str, index: str | None, mark: str, rest: str, quoted: bool
    ) -> tuple[str, bool, str, Sequence[Word] | None]:
        value = self.variables.get(name)
        fallback = re.fullmatch(r":?-(.*)", rest, re.DOTALL)
        if fallback and not (value and value[0].text):
            return self.text(Token(fallback[1], 0)).text, quoted, "", None
        if value is None:
            return "", True, f"${name}, which the script does not set", None
        if mark or (rest and not fallback):
            return "", True, f"${{{mark}{name}{rest}}}", None
        if {index, name} & {"@", "*"}:
            return "", quoted, "", value
        at = int(index) if index else 0
        word = value[at] if at < len(value) else Word("", 0)
        return word.text, quoted, word.unknown, None


def _formula(inner: str) -> str:
    """Return what a command for arithmetic (bc, expr, python) computes; empty if it is none."""
    found = CALCULATION.fullmatch(inner) or PYTHON.fullmatch(inner)
    return next(filter(None, found.groups()), "") if found else ""


def _sequence(numbers: list[int]) -> str:
    """Return what `seq [FIRST [STEP]] LAST` prints."""
    first, step, last = {1: (1, 1, *numbers), 2: (numbers[0], 1, numbers[-1])}.get(len(numbers), numbers)
    found = range(first, last + (1 if step > 0 else -1), step or 1)
    return "\n".join(map(str, found[: MOST_TURNS + 1]))


def _unknown(words: Sequence[Word]) -> str:
    return next((word.unknown for word in words if word.unknown), "")


def _add(fields: list[Field], text: str, quoted: bool, array: Sequence[Word] | None, line: int) -> None:
    """Append a piece: of an array the first word to the last field, and the others as fields of their own."""
    if array is None and quoted:
        fields[-1].text += text
    elif array is None:
        _split_onto(fields, text, line)
    else:
        parts = [Word(part, word.line) for word in array for part in ([word.text] if quoted else word.text.split())]
        for place, part in enumerate(parts):
            if place:
                fields.append(Field(part.text, part.line))
            else:
                fields[-1] = Field(fields[-1].text + part.text, part.line)


def _split_onto(fields: list[Field], text: str, line: int) -> None:
    """Append the words of an unquoted expansion to the fields, as bash splits it."""
    first, *others = re.split(r"[ \t\n]+", text)
    fields[-1].text += first
    for part in others:
        if part and not fields[-1].text:
            fields[-1].text = part
        elif part or fields[-1].text:
            fields.append(Field(part, line))

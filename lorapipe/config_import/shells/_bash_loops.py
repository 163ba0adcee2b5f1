"""What bash's `for` runs through, where that can be told without running anything, and the ends of blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lorapipe.config_import.shells import MOST_TURNS, ShellSyntaxError, Word
from lorapipe.config_import.shells._bash_words import Expansion, Token

ENDS: Mapping[str, str] = {"for": "done", "while": "done", "until": "done", "select": "done", "case": "esac", "{": "}"}
"""Word that begins a block → word that ends it."""
LEAVING = frozenset(("break", "continue", "return", "shift"))
"""Commands by which a block is not run as it is written."""
COUNTED = re.compile(r"\(\((\w+)=(\w+|\$\{?\w+\}?);\1(<=?)(\w+|\$\{?\w+\}?);(?:\1\+\+|\+\+\1|\1\+=(\d+))\)\)")
RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?\}")
FILES = re.compile(r"(?<!\\)[*?\[]")
"""What stands for names of files."""
CHOICES = re.compile(r"\{([^{},\s]*(?:,[^{},\s]*)+)\}")


def end_of_block(tokens: Sequence[Token], place: int) -> int:
    """Return the place after the word that ends the block that begins here. `ShellSyntaxError` if it is missing."""
    opening, deep = tokens[place].raw, 0
    end = ENDS[opening]
    for at in range(place, len(tokens)):
        raw = tokens[at].raw
        if ENDS.get(raw) == end and not tokens[at].operator:
            deep += 1
        elif raw == end:
            deep -= 1
            if not deep:
                return at + 1
    raise ShellSyntaxError(tokens[place].line, f"{end!r} is missing")


def values_of_loop(head: Sequence[Token], expansion: Expansion) -> tuple[str, list[Word]] | None:
    """Return the variable of a `for` and its values, from the tokens before `do`; None if they are unknown or too many."""
    counted = COUNTED.fullmatch("".join(token.raw for token in head if token.raw != "\n").rstrip(";"))
    if counted:
        return _counted(counted, head[0].line, expansion)
    words = [token for token in head if not token.operator]
    return _listed(words, expansion) if len(words) > 1 and words[1].raw == "in" else None


def _listed(words: Sequence[Token], expansion: Expansion) -> tuple[str, list[Word]] | None:
    found = [value for token in words[2:] for value in _spread(token) or expansion.words(token)]
    known = not any(map(_names_files, words[2:])) and not any(value.unknown for value in found)
    return (words[0].raw, found) if known and len(found) <= MOST_TURNS else None


def _names_files(token: Token) -> bool:
    """Whether a word stands for files, whose names only the disk knows: `*.toml`."""
    return bool(FILES.search(re.sub(r"\$\{.*?\}|'.*?'", "", token.raw)))


def _spread(token: Token) -> list[Word]:
    """Return the words of `{1..3}` or `{a,b}`; none if it is neither."""
    if found := RANGE.fullmatch(token.raw):
        first, last = int(found[1]), int(found[2])
        step = abs(int(found[3] or 1)) or 1
        numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return [Word(str(number), token.line) for number in numbers[: MOST_TURNS + 1]]
    if found := CHOICES.fullmatch(token.raw):
        return [Word(text, token.line) for text in found[1].split(",")]
    return []


def _counted(found: re.Match[str], line: int, expansion: Expansion) -> tuple[str, list[Word]] | None:
    ends = []
    for raw in (found[2], found[4]):
        plain = raw if raw.isdigit() or raw.startswith("$") else f"${raw}"
        word = expansion.text(Token(plain, line))
        if word.unknown or not word.text.isdigit():
            return None
        ends.append(int(word.text))
    numbers = range(ends[0], ends[1] + (found[3] == "<="), int(found[5] or 1) or 1)
    return (found[1], [Word(str(number), line) for number in numbers]) if len(numbers) <= MOST_TURNS else None

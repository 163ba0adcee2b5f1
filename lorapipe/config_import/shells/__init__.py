"""Interpreters of shell scripts that execute nothing: assignments, simple conditions, loops and arithmetic.

Each file has a function `run(text) → Script`. What cannot be known without running the script (the output of programs,
variables of the environment, loops that depend on either) is `unknown` in the words that it affects, and every such place is
named in remarks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_STEPS = 200_000
"""Statements that are interpreted, so that a script of any kind ends."""
LONGEST = 200_000
"""Characters of a word."""
MOST_WORDS = 20_000
"""Words of a command or an array."""

MOST_TURNS = 100
"""Turns of a loop that are interpreted."""


@dataclass(frozen=True)
class Word:
    """A word of a command, or a value of a variable, after expansion. `unknown` names what it depends on, if that is not
    known."""

    text: str
    line: int
    unknown: str = ""


@dataclass(frozen=True)
class Command:
    """A command of a script, with its words expanded."""

    words: tuple[Word, ...]
    line: int


@dataclass
class Script:
    """The commands that a script would run that may be trainings, and remarks (line, text) on what was not interpreted."""

    commands: list[Command] = field(default_factory=list)
    remarks: list[tuple[int, str]] = field(default_factory=list)


class ShellSyntaxError(Exception):
    """The script has a syntax error at a line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


class Ended(Exception):
    """The script ends here, by `exit`."""


def refused(what: str, sets: Iterable[str] = (), has_training: bool = False) -> str:
    """Return a remark about a part of a script that is not interpreted, with the variables that it would set."""
    names = ", ".join(list(dict.fromkeys(sets))[:8])
    training = "; the trainings in it are not imported" if has_training else ""
    return f"refused: {what} is not interpreted{f'; it sets {names}' if names else ''}{training}"


def is_training(words: tuple[Word, ...]) -> bool:
    """Whether a command starts a Python script of a trainer, or may do so."""
    return any(word.text.lower().rstrip("\"'").endswith(".py") for word in words) or any(
        "accelerate" in word.text.lower() for word in words[:4]
    )

"""What went wrong, where, and how to mend it: the only exceptions that reach a user.

A `Problem` is one such statement. An error carries all the problems that were found, because a user who has made two
mistakes wants to hear of both. `InputError` is the user's mistake (exit status 2); any other `LorapipeError` is a stage
or machine that failed (exit status 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    `path` is the address inside a document (`("stages", "cat", "adapter", "rank")`), from which the language finds the
    line; `where` is what a person reads (`cat.yaml:4:54 cat.adapter.rank`, or a file); `cure` says what to do; `excerpt`
    is the line itself with a mark under the place.
    """

    what: str
    where: str = ""
    cure: str = ""
    path: tuple[str | int, ...] = ()
    excerpt: str = ""

    def under(self, *prefix: str | int) -> Problem:
        """The same problem seen from further up the document."""
        return replace(self, path=(*prefix, *self.path))

    def __str__(self) -> str:
        head = f"{self.where}: " if self.where else ""
        cure = f" {self.cure}" if self.cure else ""
        return f"{head}{self.what}{cure}"


class LorapipeError(Exception):
    """Something failed for reasons that the message explains; no traceback is owed."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Iterable[Problem], *, where: str = "", cure: str = "") -> None:
        if isinstance(problems, str):
            problems = Problem(problems, where=where, cure=cure)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class InputError(LorapipeError):
    """The user's input cannot be used as it is: a pipeline, a setting, a picture folder, a checkpoint."""

    exit_code = 2


class OutOfMemory(LorapipeError):
    """A stage needs more memory than there is; the cure names what takes less."""


class Interrupted(LorapipeError):
    """The run was asked to stop and has saved what is needed to go on."""

    exit_code = 130


def near_miss(word: str, known: Sequence[str]) -> str:
    """A cure for a misspelling: the likeliest known word, else all of them."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(known))}." if known else ""

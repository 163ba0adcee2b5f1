"""What went wrong, where, and how to mend it: the only exceptions that reach a user.

A `Problem` is one such statement. An error carries all the problems that were found, because a user who has made two
mistakes wants to hear of both; of more than a hundred, a hundred are enough. `InputError` is the user's mistake (exit
status 2); any other `LorapipeError` is a stage or machine that failed (exit status 1).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from lorapipe.limits import LONGEST_MESSAGE, MOST_NAMES, MOST_PROBLEMS

UNSEEN = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
"""What a terminal obeys or cannot show: a name or a text of the user's may hold it. None of it is printable to Python."""
MOST_COMPARED = 5_000
LONGEST_WORD = 100
"""A longer one is no misspelling of anything."""
FEW = 200
"""So many names are each compared with a misspelling; of more, those that begin or end like it."""


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

    def __post_init__(self) -> None:
        for name in ("what", "where", "cure", "excerpt"):
            given = getattr(self, name)
            if len(given) > LONGEST_MESSAGE or not given.isprintable():
                object.__setattr__(self, name, re.sub(UNSEEN, _escape, shortened(given, LONGEST_MESSAGE)))

    def under(self, *prefix: str | int) -> Problem:
        """The same problem seen from further up the document."""
        return replace(self, path=(*prefix, *self.path))

    def __str__(self) -> str:
        head = f"{self.where}: " if self.where else ""
        cure = f" {self.cure}" if self.cure else ""
        return f"{head}{self.what}{cure}"


def _escape(found: re.Match[str]) -> str:
    """`\\x1b` for an escape, as a programmer writes it: one sees that it is there, and nothing obeys it."""
    return found[0].encode("unicode_escape").decode("ascii")


def shortened(text: str, most: int) -> str:
    """A text of at most so many letters: its beginning and its end."""
    return text if len(text) <= most else f"{text[: most - most // 4 - 3]}...{text[len(text) - most // 4 :]}"


class LorapipeError(Exception):
    """Something failed for reasons that the message explains; no traceback is owed."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Iterable[Problem], *, where: str = "", cure: str = "") -> None:
        if isinstance(problems, str):
            problems = Problem(problems, where=where, cure=cure)
        found = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if len(found) > MOST_PROBLEMS + 1:
            found = (*found[:MOST_PROBLEMS], Problem(f"And {len(found) - MOST_PROBLEMS} more."))
        self.problems: tuple[Problem, ...] = found
        super().__init__("\n".join(map(str, self.problems)))


class InputError(LorapipeError):
    """The user's input cannot be used as it is: a pipeline, a setting, a picture folder, a checkpoint."""

    exit_code = 2


class OutOfMemory(LorapipeError):
    """A stage needs more memory than there is; the cure names what takes less."""


class Interrupted(LorapipeError):
    """The run was asked to stop and has saved what is needed to go on."""

    exit_code = 130


CURES = {
    errno.ENOSPC: "Make room, and run the same command again.",
    errno.EDQUOT: "Your share of the disk is used up: make room, and run the same command again.",
    errno.EFBIG: "A file may not grow so large here: look at `ulimit -f`, or use another disk.",
    errno.EROFS: "Use a folder that can be written.",
    errno.EACCES: "See to it that you may read and write there.",
    errno.EPERM: "See to it that you may read and write there.",
    errno.EMFILE: "Allow more open files (`ulimit -n 4096`), and run the same command again.",
    errno.ENFILE: "This machine has too many files open: end some programs, and run the same command again.",
    errno.EIO: "The disk or the network could not do it: look at the system's log, then run the same command again.",
    errno.ESTALE: "The network folder has gone away: mount it again, and run the same command again.",
}
"""What to do where the system refuses, by the number of its error."""


def problem_of(error: OSError, where: str = "") -> Problem:
    """What the system refused to do, where, and what helps."""
    what = error.strerror or str(error) or type(error).__name__
    place = where or ("" if error.filename is None else str(error.filename))
    return Problem(f"{what[:1].lower()}{what[1:]}.", where=place, cure=CURES.get(error.errno or 0, ""))


class TooManyProblems(InputError):
    """So many problems were found that the search was ended; `found` are those."""

    def __init__(self, found: Sequence[Problem]) -> None:
        self.found = tuple(found)
        super().__init__((*found, NOT_LOOKED_FOR))


NOT_LOOKED_FOR = Problem("There may be more: after so many problems the search has ended.")


class Problems:
    """The problems of one input as they are found. With the last that is told, the search ends: `TooManyProblems`."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """One more."""
        self._found.append(problem)
        if len(self._found) >= MOST_PROBLEMS:
            raise TooManyProblems(self._found)

    def add_all(self, problems: Iterable[Problem]) -> None:
        """Several, as they come."""
        for problem in problems:
            self.add(problem)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def near_miss(word: str, known: Sequence[str]) -> str:
    """A cure for a misspelling: the likeliest known word, else all of them, or the first of very many."""
    import difflib

    alike = known if len(known) <= FEW else _begin_or_end_alike(word, known)
    if len(word) <= LONGEST_WORD:
        close = difflib.get_close_matches(word, [each for each in alike if len(each) <= 2 * LONGEST_WORD], n=1)
        if close:
            return f"Did you mean {close[0]!r}?"
    return f"Known: {listed(sorted(known))}." if known else ""


def _begin_or_end_alike(word: str, known: Iterable[str]) -> list[str]:
    """Names about as long as a word with its first letters or its last: the likeliest of thousands, at little cost."""
    about = range(len(word) - 2, len(word) + 3)
    found = (
        each
        for each in islice(known, MOST_COMPARED)
        if len(each) in about and (each[:3] == word[:3] or each[-3:] == word[-3:]) and each != word
    )
    return list(islice(found, FEW))


def listed(names: Collection[str], most: int = MOST_NAMES) -> str:
    """`a, b, c and 40 more`."""
    some = ", ".join(islice(names, most))
    return some if len(names) <= most else f"{some} and {len(names) - most} more"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """`1 picture`, `2 pictures`, `0 entries` (of `entry`, `entries`)."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"

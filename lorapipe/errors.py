"""Errors for users: what is wrong, where, and the cure.

A `Problem` is one such statement. An error contains all problems that were found, at most a hundred, so that a user sees
all mistakes at once. `InputError` is the user's mistake (exit status 2); any other `LorapipeError` is a stage or machine
that failed (exit status 1).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from lorapipe.limits import LONGEST_MESSAGE, MOST_NAMES, MOST_PROBLEMS

UNSEEN = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
"""Control characters and others that a terminal cannot show, which names and texts of users may contain. None is
printable in the sense of `str.isprintable`."""
MOST_COMPARED = 5_000
LONGEST_WORD = 100
"""Longer words are not compared with known names."""
FEW = 200
"""Up to this number all names are compared with a misspelling; of more, only those with the same beginning or end."""


@dataclass(frozen=True)
class Problem:
    """One problem for the user.

    `path` is the address in a document (`("stages", "cat", "adapter", "rank")`), from which the line is found; `where` is
    the place as text (`cat.yaml:4:54 cat.adapter.rank`, or a file); `cure` says what to do; `excerpt` is the line with a
    mark under the place. `rule` is the id of the rule that found it, which `allow` in a training silences.
    """

    what: str
    where: str = ""
    cure: str = ""
    path: tuple[str | int, ...] = ()
    excerpt: str = ""
    rule: str = ""

    def __post_init__(self) -> None:
        for name in ("what", "where", "cure", "excerpt"):
            given = getattr(self, name)
            if len(given) > LONGEST_MESSAGE or not given.isprintable():
                object.__setattr__(self, name, re.sub(UNSEEN, _escape, shortened(given, LONGEST_MESSAGE)))

    def under(self, *prefix: str | int) -> Problem:
        """Return the problem with a prefix before its address."""
        return replace(self, path=(*prefix, *self.path))

    @property
    def sentence(self) -> str:
        """What is wrong and the cure, without the place."""
        return " ".join(filter(None, [self.what, self.cure, f"[{self.rule}]" if self.rule else ""]))

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}" if self.where else self.sentence


def _escape(found: re.Match[str]) -> str:
    """Return the escape sequence of a control character, `\\x1b`: visible, and without effect on a terminal."""
    return found[0].encode("unicode_escape").decode("ascii")


def shortened(text: str, most: int) -> str:
    """Shorten a text to at most `most` characters: its beginning and its end."""
    return text if len(text) <= most else f"{text[: most - most // 4 - 3]}...{text[len(text) - most // 4 :]}"


class LorapipeError(Exception):
    """An expected failure, whose message is shown without a traceback."""

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
    """The user's input is invalid: a pipeline, a setting, a picture folder, a checkpoint."""

    exit_code = 2


class OutOfMemory(LorapipeError):
    """A stage needs more memory than there is; the cure names settings that need less."""


class Unanswered(LorapipeError):
    """A stage needs a person's answer, in the file `answer`; what is asked lies beside it."""

    def __init__(self, what: str, answer: Path) -> None:
        super().__init__(what)
        self.answer = answer


class Interrupted(LorapipeError):
    """The run was asked to stop and has saved its state."""

    exit_code = 130


CURES = {
    errno.ENOSPC: "Make room, and run the same command again.",
    errno.EDQUOT: "Your share of the disk is used up: make room, and run the same command again.",
    errno.EFBIG: "The file is too large for this disk or shell: check `ulimit -f`, or use another disk.",
    errno.EROFS: "Use a folder that can be written.",
    errno.EACCES: "Check that you have permission to read and write there.",
    errno.EPERM: "Check that you have permission to read and write there.",
    errno.EMFILE: "Allow more open files (`ulimit -n 4096`), and run the same command again.",
    errno.ENFILE: "This machine has too many files open: end some programs, and run the same command again.",
    errno.EIO: "The disk or the network failed: check the system's log, then run the same command again.",
    errno.ESTALE: "The network folder has gone away: mount it again, and run the same command again.",
}
"""The cures of system errors, by error number."""


def problem_of(error: OSError, where: str = "") -> Problem:
    """Return a system error as a problem with its cure."""
    what = error.strerror or str(error) or type(error).__name__
    place = where or ("" if error.filename is None else str(error.filename))
    return Problem(f"{what[:1].lower()}{what[1:]}.", where=place, cure=CURES.get(error.errno or 0, ""))


class TooManyProblems(InputError):
    """The search was ended after `MOST_PROBLEMS` problems; `found` are these."""

    def __init__(self, found: Sequence[Problem]) -> None:
        self.found = tuple(found)
        super().__init__((*found, NOT_LOOKED_FOR))


NOT_LOOKED_FOR = Problem("There may be more: after so many problems the search has ended.")


class Problems:
    """The problems of one input. Adding the last allowed one ends the search: `TooManyProblems`."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """Add a problem."""
        self._found.append(problem)
        if len(self._found) >= MOST_PROBLEMS:
            raise TooManyProblems(self._found)

    def add_all(self, problems: Iterable[Problem]) -> None:
        """Add several problems."""
        for problem in problems:
            self.add(problem)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def near_miss(word: str, known: Sequence[str]) -> str:
    """Return a cure for a misspelling: the most similar known word, or else a list of the known words."""
    import difflib

    alike = known if len(known) <= FEW else _begin_or_end_alike(word, known)
    if len(word) <= LONGEST_WORD:
        close = difflib.get_close_matches(word, [each for each in alike if len(each) <= 2 * LONGEST_WORD], n=1)
        if close:
            return f"Did you mean {close[0]!r}?"
    return f"Known: {listed(sorted(known))}." if known else ""


def _begin_or_end_alike(word: str, known: Iterable[str]) -> list[str]:
    """Return names of similar length with the same first or last letters: a quick filter for thousands of names."""
    about = range(len(word) - 2, len(word) + 3)
    found = (
        each
        for each in islice(known, MOST_COMPARED)
        if len(each) in about and (each[:3] == word[:3] or each[-3:] == word[-3:]) and each != word
    )
    return list(islice(found, FEW))


def listed(names: Collection[str], most: int = MOST_NAMES) -> str:
    """List names, shortened: `a, b, c and 40 more`."""
    some = ", ".join(islice(names, most))
    return some if len(names) <= most else f"{some} and {len(names) - most} more"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun: `1 picture`, `2 pictures`, `0 entries` (of `entry`, `entries`)."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"

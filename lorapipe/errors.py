"""What went wrong, where, and how to mend it: the only exceptions that reach a user.

A `Problem` is one such statement. An error carries all the problems that were found, because a user who has made two
mistakes wants to hear of both. `InputError` is the user's mistake (exit status 2); any other `LorapipeError` is a stage
or machine that failed (exit status 1).
"""

from __future__ import annotations

import errno
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


def near_miss(word: str, known: Sequence[str]) -> str:
    """A cure for a misspelling: the likeliest known word, else all of them."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(known))}." if known else ""

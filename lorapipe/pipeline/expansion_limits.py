"""Limits on a document's size after expansion by aliases, variables and matrices."""

from __future__ import annotations

from lorapipe.errors import InputError
from lorapipe.limits import MOST_LETTERS, MOST_VALUES


class Allowance:
    """Counts the values and characters of an expanded document. Code that copies parts of a document calls `take` first."""

    def __init__(self, cause: str, where: str = "") -> None:
        self._cause = cause
        self._where = where
        self._values = MOST_VALUES
        self._letters = MOST_LETTERS

    def take(self, values: int, letters: int = 0) -> None:
        """Use up so many values and characters. `InputError` if the limit is exceeded."""
        self._values -= values
        self._letters -= letters
        if self._values < 0 or self._letters < 0:
            limit = f"{MOST_VALUES} values" if self._values < 0 else f"{MOST_LETTERS} characters"
            what = f"has more than {limit}, {self._cause}."
            raise InputError(what, where=self._where, cure="Write fewer, or shorter ones.")


def size(plain: object) -> tuple[int, int]:
    """Return the number of values in a plain value, itself included, and of characters in its texts and keys."""
    if isinstance(plain, str):
        return 1, len(plain)
    inner = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
    values, letters = 1, sum(map(len, plain)) if isinstance(plain, dict) else 0
    for item in inner:
        more = size(item)
        values, letters = values + more[0], letters + more[1]
    return values, letters

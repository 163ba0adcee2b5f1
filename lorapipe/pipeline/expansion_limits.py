"""How much a document may become: aliases, variables and matrices make many values of few, and texts longer."""

from __future__ import annotations

from lorapipe.errors import InputError
from lorapipe.limits import MOST_LETTERS, MOST_VALUES


class Allowance:
    """Values and letters that may still be made. All that copies parts of a document asks before it does."""

    def __init__(self, cause: str, where: str = "") -> None:
        self._cause = cause
        self._where = where
        self._values = MOST_VALUES
        self._letters = MOST_LETTERS

    def take(self, values: int, letters: int = 0) -> None:
        """Ask for so much; `InputError` where it is too much."""
        self._values -= values
        self._letters -= letters
        if self._values < 0 or self._letters < 0:
            limit = f"{MOST_VALUES} values" if self._values < 0 else f"{MOST_LETTERS} letters"
            what = f"holds more than {limit}, {self._cause}."
            raise InputError(what, where=self._where, cure="Write fewer, or shorter ones.")


def size(plain: object) -> tuple[int, int]:
    """How many values a plain value is, itself and all in it, and how many letters its texts and keys have."""
    if isinstance(plain, str):
        return 1, len(plain)
    inner = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
    values, letters = 1, sum(map(len, plain)) if isinstance(plain, dict) else 0
    for item in inner:
        more = size(item)
        values, letters = values + more[0], letters + more[1]
    return values, letters

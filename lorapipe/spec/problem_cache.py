"""What specs report about themselves, each asked once."""

from __future__ import annotations

from itertools import islice

from lorapipe.errors import Problem
from lorapipe.limits import MOST_PROBLEMS
from lorapipe.spec.base import Spec
from lorapipe.spec.paths import trouble


class ProblemCache:
    """What specs say is wrong with them, as it was when they were first asked: they may look at files for that.

    Of those in a document that are written alike, such as the base of a hundred stages, one is asked for all.
    """

    def __init__(self) -> None:
        self._told: dict[Spec, tuple[Problem, ...]] = {}

    def of(self, spec: Spec) -> tuple[Problem, ...]:
        """What it says; addresses start at the spec."""
        try:
            told = self._told.get(spec)
        except TypeError:  # it holds a mapping, and is compared with nothing
            return self._ask(spec)
        if told is None:
            told = self._told[spec] = self._ask(spec)
        return told

    @staticmethod
    def _ask(spec: Spec) -> tuple[Problem, ...]:
        found: list[Problem] = []
        try:
            found.extend(islice(spec.problems(), MOST_PROBLEMS))
        except OSError as error:
            found.append(Problem(f"{error.filename or 'a file'} cannot be read: {trouble(error)}."))
        return tuple(found)

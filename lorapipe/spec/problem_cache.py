"""A cache of the problems that specs report about themselves."""

from __future__ import annotations

from itertools import islice

from lorapipe.errors import Problem
from lorapipe.limits import MOST_PROBLEMS
from lorapipe.spec.base import Spec
from lorapipe.spec.paths import trouble


class ProblemCache:
    """Caches `Spec.problems()`, which may read files: equal specs, such as the base of a hundred stages, are asked once."""

    def __init__(self) -> None:
        self._cached: dict[Spec, tuple[Problem, ...]] = {}

    def of(self, spec: Spec) -> tuple[Problem, ...]:
        """Return the problems of a spec; addresses start at the spec."""
        try:
            problems = self._cached.get(spec)
        except TypeError:  # a spec with a mapping is not hashable
            return self._ask(spec)
        if problems is None:
            problems = self._cached[spec] = self._ask(spec)
        return problems

    @staticmethod
    def _ask(spec: Spec) -> tuple[Problem, ...]:
        found: list[Problem] = []
        try:
            found.extend(islice(spec.problems(), MOST_PROBLEMS))
        except OSError as error:
            found.append(Problem(f"{error.filename or 'a file'} cannot be read: {trouble(error)}."))
        return tuple(found)

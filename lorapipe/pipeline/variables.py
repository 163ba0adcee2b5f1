"""`${name}` in a document: substitution from `vars`. Nothing is executed, and the environment is not read."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager

from lorapipe.errors import InputError, Problem, Problems, near_miss, shortened
from lorapipe.limits import MOST_LEVELS, MOST_USES
from lorapipe.pipeline.expansion_limits import Allowance
from lorapipe.spec import Address

VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
"""Matches `${name}`, and `$${`, which is the text `${`."""
FILLED = "with its variables filled in"


def literal(text: str) -> str:
    """Return a text in which `${` is no variable: it is escaped."""
    return text.replace("${", "$${")


class Variables:
    """The `vars` of a document. Values may contain other variables."""

    def __init__(
        self, values: Mapping[str, object], keep: Container[str] | None = (), allowance: Allowance | None = None
    ) -> None:
        self.values = values
        self.keep = keep
        """Names that may be unknown here and are left for later; None: all."""
        self.begins: dict[Address, str] = {}
        """Address of a text that begins with a variable → its name, since a relative path starts at the variable's file."""
        self.written: dict[Address, Address] = {}
        """Address of a value that is a variable → its address in `vars`."""
        self.problems = Problems()
        self.broken: set[Address] = set()
        """Addresses of values that could not be filled in; further problems there are consequences."""
        self._allowance = allowance or Allowance(FILLED)
        self._open: list[str] = []
        self._uses = 0
        self._levels = 0

    def fill(self, value: object, at: Address) -> object:
        """Return a plain value with every variable replaced; problems are added with their address."""
        if isinstance(value, (dict, list)):
            with self._deeper():
                self._allowance.take(len(value))
                if isinstance(value, dict):
                    return {key: self.fill(item, (*at, key)) for key, item in value.items()}
                return [self.fill(item, (*at, index)) for index, item in enumerate(value)]
        if not (isinstance(value, str) and "${" in value):
            return value
        before = len(self.problems)
        filled = self._text(value, at)
        if len(self.problems) > before:
            self.broken.add(at)
        return filled

    def origin(self, address: Address) -> Address:
        """Return the address where a value is written: in `vars`, if it is a variable."""
        for _ in range(MOST_LEVELS):  # a variable may consist of another one
            source = next(
                (
                    (length, self.written[address[:length]])
                    for length in range(len(address), 0, -1)
                    if address[:length] in self.written
                ),
                None,
            )
            if source is None:
                break
            address = (*source[1], *address[source[0] :])
        return address

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """Enter a list, mapping or variable."""
        self._levels += 1
        if self._levels > 2 * MOST_LEVELS:
            raise InputError(f"is nested more than {2 * MOST_LEVELS} levels deep {FILLED}.")
        try:
            yield
        finally:
            self._levels -= 1

    def _text(self, text: str, at: Address) -> object:
        first = VARIABLE.match(text)
        if first and first[1]:
            self.begins[at] = first[1]
        whole = VARIABLE.fullmatch(text)
        if whole and whole[1] is not None:
            if whole[1] in self.values:
                self.written[at] = ("vars", whole[1])
            return self._value(whole[1], at)
        return VARIABLE.sub(lambda found: "${" if found[1] is None else self._inside(found[1], at), text)

    def _inside(self, name: str, at: Address) -> str:
        value = self._value(name, at)
        if isinstance(value, (dict, list)):
            self.problems.add(Problem(f"${{{name}}} is a list or a mapping and cannot be part of a text.", path=at))
            return ""
        if value is None:
            return ""
        text = str(value).lower() if isinstance(value, bool) else str(value)
        self._allowance.take(0, len(text))
        return text

    def _value(self, name: str, at: Address) -> object:
        if name not in self.values and (self.keep is None or name in self.keep):
            return f"${{{name}}}"
        if name not in self.values:
            self.problems.add(Problem(f"there is no variable {shortened(name, 100)!r}.", "", self._cure(name), at))
            return None
        if name in self._open:
            ring = " -> ".join([*self._open[self._open.index(name) :], name])
            self.problems.add(Problem(f"variables depend on one another in a cycle: {ring}.", path=at))
            return None
        if len(self._open) >= MOST_LEVELS:
            what = f"variables are nested more than {MOST_LEVELS} levels deep: {name} is the last."
            self.problems.add(Problem(what, path=at))
            return None
        self._uses += 1
        if self._uses > MOST_USES:
            raise InputError(Problem(f"uses variables more than {MOST_USES} times.", cure="Nest them less."))
        self._open.append(name)
        try:
            with self._deeper():
                value = self.values[name]
                self._allowance.take(1, len(value) if isinstance(value, str) else 0)
                return self.fill(value, ("vars", name))
        finally:
            self._open.pop()

    def _cure(self, name: str) -> str:
        return near_miss(name, [*self.values]) or f"Add it: `vars: {{{shortened(name, 100)}: …}}`."

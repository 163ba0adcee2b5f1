"""`${name}` in a document: substitution from `vars`, and nothing else. Nothing is executed or read from outside."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.spec import Address

VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
"""`${name}`; `$${` stands for a `${` that is meant as text."""

MAX_USES = 10_000
"""Variables made of variables grow fast; this is where it stops."""


class Variables:
    """The `vars` of a document. Values may use one another."""

    def __init__(self, values: Mapping[str, Any], keep: Container[str] | None = ()) -> None:
        self.values = values
        self.keep = keep
        """Names that are filled in later, where they are not known here; None: all of them."""
        self.begins: dict[Address, str] = {}
        """Where a text begins with a variable: its name. A relative path belongs to the file that wrote it."""
        self.problems: list[Problem] = []
        self.broken: set[Address] = set()
        """Where a value could not be filled in: whatever else is wrong there follows from it."""
        self._open: list[str] = []
        self._uses = 0

    def fill(self, value: Any, at: Address) -> Any:
        """A copy of a plain value with every variable replaced; problems are noted under their address."""
        if isinstance(value, dict):
            return {key: self.fill(item, (*at, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, (*at, index)) for index, item in enumerate(value)]
        if not (isinstance(value, str) and "${" in value):
            return value
        before = len(self.problems)
        filled = self._text(value, at)
        if len(self.problems) > before:
            self.broken.add(at)
        return filled

    def _text(self, text: str, at: Address) -> Any:
        first = VARIABLE.match(text)
        if first and first[1]:
            self.begins[at] = first[1]
        whole = VARIABLE.fullmatch(text)
        if whole and whole[1] is not None:
            return self._value(whole[1], at)
        return VARIABLE.sub(lambda found: "${" if found[1] is None else self._inside(found[1], at), text)

    def _inside(self, name: str, at: Address) -> str:
        value = self._value(name, at)
        if isinstance(value, (dict, list)):
            self.problems.append(Problem(f"${{{name}}} is a list or a mapping and cannot stand inside text.", path=at))
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _value(self, name: str, at: Address) -> Any:
        if name not in self.values and (self.keep is None or name in self.keep):
            return f"${{{name}}}"
        if name not in self.values:
            self.problems.append(Problem(f"there is no variable {name!r}.", "", self._cure(name), at))
            return None
        if name in self._open:
            ring = " -> ".join([*self._open[self._open.index(name) :], name])
            self.problems.append(Problem(f"variables go round in a circle: {ring}.", path=at))
            return None
        self._uses += 1
        if self._uses > MAX_USES:
            raise InputError(f"uses variables more than {MAX_USES} times.", where="vars", cure="Nest them less.")
        self._open.append(name)
        try:
            return self.fill(self.values[name], ("vars", name))
        finally:
            self._open.pop()

    def _cure(self, name: str) -> str:
        return near_miss(name, [*self.values]) or f"Add it: `vars: {{{name}: …}}`."

"""`when:` conditions: comparisons of variables, joined by `and`, `or` and `not`. Nothing else can be said, or run.

when: ${final}
when: ${family} == sdxl and not ${draft}
when: ${quality} in [good, best]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lorapipe.pipeline.document import scalar

TOKEN = re.compile(r"""\s*(?:(\$\{[^{}]*\})|("[^"]*"|'[^']*')|(==|!=|[\[\](),])|([^\s\[\](),=!"'$]+))""")
WORDS = frozenset({"and", "or", "not", "in"})


def holds(text: str, variable: Callable[[str], Any]) -> bool:
    """Whether a condition is true; `variable(name)` gives a value. ValueError says what cannot be read."""
    reader = _Reader(text, variable)
    value = reader.either()
    if reader.tokens:
        raise ValueError(f"{reader.tokens[0]!r} is not expected here.")
    if not isinstance(value, bool):
        raise ValueError(f"this condition is {value!r}, and not true or false.")
    return value


class _Reader:
    """One reading of a condition, from left to right: `either` of `both` of `negation` of `comparison`."""

    def __init__(self, text: str, variable: Callable[[str], Any]) -> None:
        self.tokens: list[str] = []
        self._variable = variable
        at = 0
        while text[at:].strip():
            found = TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"{text[at:].strip()!r} cannot be read.")
            self.tokens.append(found[0].strip())
            at = found.end()

    def either(self) -> Any:
        """`a or b`."""
        value = self._both()
        while self._take("or"):
            other = self._both()
            value = _truth(value) or _truth(other)
        return value

    def _both(self) -> Any:
        value = self._negation()
        while self._take("and"):
            other = self._negation()
            value = _truth(value) and _truth(other)
        return value

    def _negation(self) -> Any:
        return not _truth(self._negation()) if self._take("not") else self._comparison()

    def _comparison(self) -> Any:
        left = self._value()
        if self._take("=="):
            return left == self._value()
        if self._take("!="):
            return left != self._value()
        if self._take("in"):
            choices = self._value()
            if not isinstance(choices, list):
                raise ValueError("`in` needs a list: [a, b].")
            return left in choices
        return left

    def _value(self) -> Any:
        token = self.tokens.pop(0) if self.tokens else ""
        if token == "(":
            value = self.either()
            self._expect(")")
            return value
        if token == "[":
            return self._list()
        if token.startswith("${"):
            return self._variable(token[2:-1])
        if token[:1] in ("'", '"'):
            return token[1:-1]
        if not token or token in WORDS or not TOKEN.fullmatch(token) or token in ("==", "!=", "]", ")", ","):
            raise ValueError(f"a value is missing{f' before {token!r}' if token else ' at the end'}.")
        return scalar(token)

    def _list(self) -> list[Any]:
        values = []
        while not self._take("]"):
            values.append(self._value())
            if not self._take(","):
                self._expect("]")
                break
        return values

    def _take(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise ValueError(f"{token!r} is missing.")


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false.")
    return value

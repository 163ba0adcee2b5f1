"""`when:` conditions: comparisons of variables with `and`, `or` and `not`, and nothing else.

when: ${final}
when: ${family} == sdxl and not ${draft}
when: ${quality} in [good, best]
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lorapipe.limits import MOST_CONDITION, MOST_LEVELS
from lorapipe.pipeline.yaml_values import scalar
from lorapipe.spec import show

TOKEN = re.compile(r"""\s*(?:(\$\{[^{}]*\})|("[^"]*"|'[^']*')|(==|!=|[\[\](),])|([^\s\[\](),=!"'$]+))""")
WORDS = frozenset({"and", "or", "not", "in"})


def holds(text: str, variable: Callable[[str], object]) -> bool:
    """Whether a condition is true; `variable(name)` returns a value. ValueError if it cannot be parsed."""
    if len(text) > MOST_CONDITION:
        raise ValueError(f"this condition has {len(text)} characters; {MOST_CONDITION} is the most.")
    parser = _Parser(text, variable)
    value = parser.disjunction()
    if parser.next:
        raise ValueError(f"{parser.next!r} is not expected here.")
    if not isinstance(value, bool):
        raise ValueError(f"this condition is {show(value)}, not true or false.")
    return value


class _Parser:
    """A recursive descent parser and evaluator: disjunction → conjunction → negation → comparison → value."""

    def __init__(self, text: str, variable: Callable[[str], object]) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._levels = 0
        self._variable = variable

    @property
    def next(self) -> str:
        """The next token; empty at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def disjunction(self) -> object:
        """Evaluate `a or b`."""
        value = self._conjunction()
        while self._take("or"):
            other = self._conjunction()
            value = _truth(value) or _truth(other)
        return value

    def _conjunction(self) -> object:
        value = self._negation()
        while self._take("and"):
            other = self._negation()
            value = _truth(value) and _truth(other)
        return value

    def _negation(self) -> object:
        negations = 0
        while self._take("not"):
            negations += 1
        value = self._comparison()
        return value if not negations else _truth(value) != bool(negations % 2)

    def _comparison(self) -> object:
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

    def _value(self) -> object:
        token = self.next
        self._at += 1
        if token in ("(", "["):
            return self._inside(token)
        if token.startswith("${"):
            return self._variable(token[2:-1])
        if token[:1] in ("'", '"'):
            return token[1:-1]
        if not token or token in WORDS or not TOKEN.fullmatch(token) or token in ("==", "!=", "]", ")", ","):
            raise ValueError(f"a value is missing{f' before {token!r}' if token else ' at the end'}.")
        return scalar(token)

    def _inside(self, bracket: str) -> object:
        """Evaluate the contents of brackets."""
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise ValueError(f"has brackets nested more than {MOST_LEVELS} deep.")
        value = self._list() if bracket == "[" else self.disjunction()
        if bracket == "(":
            self._expect(")")
        self._levels -= 1
        return value

    def _list(self) -> list[object]:
        values = []
        while not self._take("]"):
            values.append(self._value())
            if not self._take(","):
                self._expect("]")
                break
        return values

    def _take(self, token: str) -> bool:
        taken = self.next == token
        self._at += taken
        return taken

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise ValueError(f"{token!r} is missing.")


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        found = TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{show(text[at:].strip())} cannot be parsed.")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{show(value)} is not true or false.")
    return value

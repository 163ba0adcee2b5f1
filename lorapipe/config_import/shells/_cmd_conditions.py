"""Conditions of batch files, as far as their values are known without running anything."""

from __future__ import annotations

import re

from lorapipe.config_import.shells._arithmetic import evaluate
from lorapipe.config_import.shells._cmd_words import Expansion

IF = re.compile(r"if\s+(/i\s+)?(not\s+)?(.*)", re.IGNORECASE | re.DOTALL)
COMPARISON = re.compile(
    r"(\"[^\"]*\"|\S*?)\s*(==|\s(?:equ|neq|gtr|lss|geq|leq)\s)\s*(\"[^\"]*\"|\S+)(.*)", re.I | re.DOTALL
)


def condition(text: str, expansion: Expansion) -> tuple[bool | None, str]:
    """Return whether a condition holds (None: unknown), and the text after it."""
    found = IF.fullmatch(text)
    if found is None:
        return None, ""
    ignoring, negated, rest = bool(found[1]), bool(found[2]), found[3]
    holds: bool | None = None
    if defined := re.match(r"defined\s+(\S+)(.*)", rest, re.IGNORECASE | re.DOTALL):
        value = expansion.variables.get(defined[1].lower())
        holds, rest = bool(value and value.text), defined[2]
    elif other := re.match(r"(?:exist|errorlevel)\s+(\"[^\"]*\"|\S+)(.*)", rest, re.IGNORECASE | re.DOTALL):
        rest = other[2]
    elif compared := COMPARISON.match(rest):
        left, right = expansion.text(compared[1], 0), expansion.text(compared[3], 0)
        rest = compared[4]
        if not (left.unknown or right.unknown) or {left.text, right.text} & {'""'}:
            holds = _compared(left.text, compared[2].strip().lower(), right.text, ignoring)
    return (not holds if negated and holds is not None else holds), rest


def _compared(left: str, sign: str, right: str, ignoring: bool) -> bool | None:
    first, second = left.strip('"'), right.strip('"')
    if ignoring:
        first, second = first.casefold(), second.casefold()
    if sign == "==":
        return first == second
    one, other = evaluate(first), evaluate(second)
    if one is None or other is None:
        return {"equ": first == second, "neq": first != second}.get(sign)
    return {"equ": one == other, "neq": one != other, "gtr": one > other, "lss": one < other,
            "geq": one >= other, "leq": one <= other}[sign]  # fmt: skip

"""Arithmetic in scripts: numbers, + - * / % and parentheses, evaluated without Python's eval."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

TOKEN = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\*\*|[-+*/%()^,]|[A-Za-z_:\[\]]+)")
FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "[math]::ceiling": math.ceil, "[math]::floor": math.floor, "[math]::round": round, "[math]::truncate": math.trunc,
    "[int]": round, "int": int, "[math]::abs": abs, "[double]": float, "[float]": float,
}  # fmt: skip
LARGEST = 1e15
DEEPEST = 50


def evaluate(text: str, whole: bool = False) -> float | int | None:
    """Return the value of an expression; with `whole`, in integers as bash and cmd compute. None if it is not one."""
    tokens = TOKEN.findall(text)
    if not tokens or re.sub(r"\s+", "", "".join(tokens)) != re.sub(r"\s+", "", text) or len(tokens) > 500:
        return None
    try:
        value, rest = _sum(tokens, whole, 0)
    except (ValueError, ZeroDivisionError, OverflowError, IndexError):
        return None
    if rest or abs(value) > LARGEST:
        return None
    return int(value) if whole or (isinstance(value, float) and value.is_integer() and "e" not in text) else value


def spelled(value: float) -> str:
    """Return a number as shells print it."""
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _sum(tokens: list[str], whole: bool, depth: int) -> tuple[float, list[str]]:
    value, tokens = _product(tokens, whole, depth)
    while tokens and tokens[0] in "+-":
        sign, (other, tokens) = tokens[0], _product(tokens[1:], whole, depth)
        value = value + other if sign == "+" else value - other
    return value, tokens


def _product(tokens: list[str], whole: bool, depth: int) -> tuple[float, list[str]]:
    value, tokens = _factor(tokens, whole, depth)
    while tokens and tokens[0] in ("*", "/", "%"):
        sign, (other, tokens) = tokens[0], _factor(tokens[1:], whole, depth)
        if sign == "*":
            value *= other
        elif sign == "%":
            value = math.fmod(value, other)
        else:
            value = int(value / other) if whole else value / other
        if abs(value) > LARGEST:
            raise OverflowError
    return value, tokens


def _factor(tokens: list[str], whole: bool, depth: int) -> tuple[float, list[str]]:
    if depth > DEEPEST:
        raise ValueError
    token, rest = tokens[0], tokens[1:]
    if token in "+-":
        value, rest = _factor(rest, whole, depth + 1)
        return (-value if token == "-" else value), rest
    if token == "(":
        value, rest = _sum(rest, whole, depth + 1)
        if rest[0] != ")":
            raise ValueError
        return value, rest[1:]
    if (function := FUNCTIONS.get(token.lower())) is not None:
        return _called(function, rest, whole, depth)
    if not re.match(r"[\d.]", token):
        raise ValueError
    return (int(token) if token.isdigit() else float(token)), rest


def _called(function: Callable[[float], float], tokens: list[str], whole: bool, depth: int) -> tuple[float, list[str]]:
    """Return a function's value; a second argument is the digits of a rounding."""
    if tokens[0] != "(":
        value, rest = _factor(tokens, whole, depth + 1)
        return function(value), rest
    value, rest = _sum(tokens[1:], whole, depth + 1)
    digits = None
    if rest[:1] == [","]:
        digits, rest = _sum(rest[1:], whole, depth + 1)
    if rest[0] != ")":
        raise ValueError
    return (function(value) if digits is None else round(value, int(digits))), rest[1:]

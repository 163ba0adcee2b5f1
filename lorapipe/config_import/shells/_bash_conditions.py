"""Conditions of bash scripts: `[ … ]`, `[[ … ]]` and `test`, as far as their values are known without running anything."""

from __future__ import annotations

from collections.abc import Sequence

from lorapipe.config_import.shells import Word
from lorapipe.config_import.shells._arithmetic import evaluate
from lorapipe.config_import.shells._bash_words import Expansion, Token

CONDITIONS = ("[", "[[", "test")
COMPARED = {"-eq": "==", "-ne": "!=", "-gt": ">", "-lt": "<", "-ge": ">=", "-le": "<=", "=": "=", "==": "=", "!=": "!"}


def holds(tokens: Sequence[Token], expansion: Expansion) -> bool | None:
    """Return whether a condition holds; None if unknown."""
    raws = [token.raw for token in tokens]
    if not raws or raws[0] not in CONDITIONS:
        return {"true": True, "false": False}.get(raws[0]) if raws else None
    inner = [token for token in tokens[1:] if token.raw not in ("]", "]]")]
    return _test(inner, expansion)


def _test(tokens: Sequence[Token], expansion: Expansion) -> bool | None:
    for joint in ("||", "-o", "&&", "-a"):
        places = [place for place, token in enumerate(tokens) if token.raw == joint]
        if places:
            left, right = (_test(part, expansion) for part in (tokens[: places[0]], tokens[places[0] + 1 :]))
            return joined(left, "||" if joint in ("||", "-o") else "&&", right)
    if tokens and tokens[0].raw == "!":
        inner = _test(tokens[1:], expansion)
        return None if inner is None else not inner
    return _tested([expansion.text(token) for token in tokens])


def _tested(words: list[Word]) -> bool | None:
    """Return whether `-n text`, `text` or `left = right` holds; a variable that is not set is empty."""
    if any(word.unknown and "does not set" not in word.unknown for word in words):
        return None
    texts = [word.text for word in words]
    if len(texts) == 1:
        return bool(texts[0])
    if len(texts) == 2:
        return {"-n": bool(texts[1]), "-z": not texts[1]}.get(texts[0])
    return _compared(*texts) if len(texts) == 3 else None


def joined(left: bool | None, joint: str, right: bool | None) -> bool | None:
    """Return whether two conditions joined by && or || hold; None if unknown."""
    if joint == "&&":
        return False if left is False or right is False else (None if left is None or right is None else True)
    return True if left or right else (None if left is None or right is None else False)


def _compared(left: str, sign: str, right: str) -> bool | None:
    kind = COMPARED.get(sign)
    if kind in ("=", "!"):
        return (left == right) == (kind == "=")
    first, second = evaluate(left or "0", True), evaluate(right or "0", True)
    if kind is None or first is None or second is None:
        return None
    return {"==": first == second, "!=": first != second, ">": first > second, "<": first < second,
            ">=": first >= second, "<=": first <= second}[kind]  # fmt: skip

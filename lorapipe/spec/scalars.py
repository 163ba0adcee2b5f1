"""A document's numbers, truth values and texts as the type that is asked for, and the cures where they are not."""

from __future__ import annotations

from pathlib import Path

from lorapipe.spec.base import Value
from lorapipe.spec.shapes import Scalar

WORDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "text": "text",
    "path": "a path",
}
"""What a user calls each kind of scalar."""
TEXTS = ("text", "path")
LONGEST_NUMBER = 30
"""Letters of a text that may be a number in quotes."""


def as_scalar(kind: str, plain: object) -> Scalar | None:
    """Convert a document's scalar to `kind`; None where it is none. 1e3 is a whole number, true is never a number."""
    if isinstance(plain, bool):
        return plain if kind == "boolean" else None
    if kind == "integer" and isinstance(plain, float) and plain.is_integer():
        return int(plain)
    if kind == "number" and isinstance(plain, (int, float)):
        return float(plain)
    if kind == "integer" and isinstance(plain, int):
        return plain
    return plain if kind in TEXTS and isinstance(plain, str) else None


def quote_cure(kind: str, plain: object) -> str:
    """Say that quotes are missing, or too many, where the value would be right then."""
    if kind == "text":
        return 'Put it in quotes: "…".' if isinstance(plain, (int, float)) else ""
    bare = _without_quotes(plain)
    return f"Take the quotes away: {plain}." if bare is not None and as_scalar(kind, bare) is not None else ""


def unquoted_cure(kind: type[Value], plain: object, folder: Path) -> str:
    """Say that quotes are too many around a number which the value type takes."""
    bare = _without_quotes(plain)
    if bare is None:
        return ""
    try:
        kind.parse(bare, folder)
    except (ValueError, OSError):
        return ""
    return f"Take the quotes away: {plain}."


def _without_quotes(plain: object) -> bool | float | None:
    """Return the number or truth value that a text in quotes spells."""
    if plain in ("true", "false"):
        return plain == "true"
    try:
        number = float(plain) if isinstance(plain, str) and len(plain) < LONGEST_NUMBER else None
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() else number

"""Convert scalars of a document (numbers, booleans, texts) to the type of a knob, and suggest cures if that fails."""

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
"""Each kind of scalar in a message."""
TEXTS = ("text", "path")
LONGEST_NUMBER = 30
"""Most characters of a text that is tested for being a number in quotes."""


def as_scalar(kind: str, plain: object) -> Scalar | None:
    """Convert a document's scalar to `kind`; None if it does not fit. 1e3 is a whole number, true is never a number."""
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
    """Return the cure if the value would be right with quotes, or without them."""
    if kind == "text":
        return 'Put it in quotes: "…".' if isinstance(plain, (int, float)) else ""
    bare = _without_quotes(plain)
    return f"Remove the quotes: {plain}." if bare is not None and as_scalar(kind, bare) is not None else ""


def unquoted_cure(kind: type[Value], plain: object, folder: Path) -> str:
    """Return the cure if the value type would take the number without its quotes."""
    bare = _without_quotes(plain)
    if bare is None:
        return ""
    try:
        kind.parse(bare, folder)
    except (ValueError, OSError):
        return ""
    return f"Remove the quotes: {plain}."


def _without_quotes(plain: object) -> bool | float | None:
    """Return the number or boolean in a quoted text; None if it is another text."""
    if plain in ("true", "false"):
        return plain == "true"
    try:
        number = float(plain) if isinstance(plain, str) and len(plain) < LONGEST_NUMBER else None
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() else number

"""The tags of a caption: what is between its commas."""

from __future__ import annotations

import re
from collections.abc import Iterable

Tags = tuple[str, ...]
"""The tags of one caption, in order."""
WORD = re.compile(r"[^\W\d_]{2}|[^\x00-\x7f]")
"""What a tag of words has and a face of characters (`o_o`, `>_<`, `+_+`) lacks: two letters in a row, or foreign ones."""


def tags_of(text: str, separator: str = ",") -> list[str]:
    """Split a caption or prompt at its commas into tags, with single spaces."""
    return [tag for part in text.split(separator) if (tag := " ".join(part.split()))]


def compared_tags(text: str, separator: str = ",") -> list[str]:
    """Return the tags of a caption or prompt as they are compared: in lower case."""
    return [tag.lower() for tag in tags_of(text, separator)]


def joined(tags: Iterable[str]) -> str:
    """Return the caption of these tags."""
    return ", ".join(tags)


def tag_key(tag: str) -> str:
    """Return a tag in the form in which edits compare it.

    Case, underscores and backslashes do not count: `Long_Hair` is `long hair`, `saber \\(fate\\)` is `saber (fate)`.
    """
    return " ".join(tag.replace("\\(", "(").replace("\\)", ")").replace("_", " ").casefold().split()) or tag


def tag_keys(tags: Iterable[str]) -> frozenset[str]:
    """Return the keys of several tags."""
    return frozenset(map(tag_key, tags))


def spaced(tag: str) -> str:
    """Return a tag with spaces for underscores, unless it is a face."""
    return " ".join(tag.replace("_", " ").split()) if "_" in tag and WORD.search(tag) else tag


def underscored(tag: str) -> str:
    """Return a tag with underscores for spaces."""
    return "_".join(tag.split())

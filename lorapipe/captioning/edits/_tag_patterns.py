"""A list of tags with wildcards, written in the pipeline or in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import tag_key, tags_of
from lorapipe.errors import InputError, Problem
from lorapipe.picture_files.captions import decode
from lorapipe.regular_files import open_regular, read_regular
from lorapipe.spec import Source, param

MOST = 20_000_000
"""Largest list of tags, in bytes."""


@dataclass(frozen=True)
class TagPatterns(Edit):
    """Tags to find: exact ones, and patterns in which `*` stands for any text."""

    tags: tuple[str, ...] = param((), "the tags; * stands for any text: '* background'")
    file: Source | None = param(None, "a text file with further tags, one a line, or separated by commas; # comments")

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not self.tags and self.file is None:
            yield Problem("has no tags.", cure="Write tags: [cat], or name a file.", path=("tags",))

    @cached_property
    def matches(self) -> Callable[[str], bool]:
        """A function that says whether a tag is in the list. `InputError` if the file cannot be read."""
        listed = [*self.tags, *(tags_in(self.file.path) if self.file else ())]
        exact = {tag_key(tag) for tag in listed if "*" not in tag}
        patterns = [[*map(_literal, tag.split("*"))] for tag in listed if "*" in tag]
        known: dict[str, bool] = {}

        def matches(tag: str) -> bool:
            if tag not in known:
                key = tag_key(tag)
                known[tag] = key in exact or any(_fits(key, parts) for parts in patterns)
            return known[tag]

        return matches


def tags_in(path: Path) -> list[str]:
    """Return the tags of a text file, one a line or separated by commas; lines that begin with # are comments."""
    try:
        text, _ = decode(read_regular(open_regular(path), MOST))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path)) from None
    return [tag for line in text.splitlines() if not line.lstrip().startswith("#") for tag in tags_of(line)]


def _literal(part: str) -> str:
    """Return a pattern's part between wildcards as `tag_key` writes it, with its spaces at the ends."""
    return re.sub(r"\s+", " ", part.replace("\\(", "(").replace("\\)", ")").replace("_", " ").casefold())


def _fits(text: str, parts: list[str]) -> bool:
    """Return whether a text is the parts with any texts between them, in time proportional to both lengths."""
    first, *middle, last = parts
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True

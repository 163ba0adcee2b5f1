"""The report's texts in other languages: one JSON file for each, from English templates to templates of that language.

A template is a sentence as the code writes it, with `{0}`, `{1}` … for what is put in: `"Use {0}."`. A text is looked up
as it is, then as a filled-in template, whose fillings are looked up in turn; the longest template that fits is taken. So
rules and reports write English alone, and a new language is one file. What has no translation stays English.
Under `"English"` a file has its own language's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
PLACE = re.compile(r"\\\{([0-9])\\\}")
"""A place to fill in, in a template that is escaped for a regular expression."""


def languages() -> tuple[str, ...]:
    """The languages besides English, by their codes (ISO 639-1)."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.json")))


@cache
def translation(language: str) -> Translation:
    """The translation into a language of `languages()`."""
    return Translation(table_of(FOLDER / f"{language}.json"))


def table_of(file: Path) -> dict[str, str]:
    """Read a table of templates."""
    table: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return table


class Translation:
    """A table of templates, English to another language."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self.table = table
        templates = sorted((each for each in table if "{0}" in each), key=len, reverse=True)
        self._patterns = [(_pattern(template), table[template]) for template in templates]

    def __call__(self, text: str) -> str | None:
        """The text in the other language; None where the table has nothing that fits."""
        if text in self.table:
            return self.table[text]
        for pattern, other in self._patterns:
            if found := pattern.fullmatch(text):
                filled = {int(name[1:]): value for name, value in found.groupdict().items()}
                return other.format(*(self(filled[place]) or filled[place] for place in sorted(filled)))
        return None


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(PLACE.sub(lambda found: f"(?P<_{found[1]}>.+?)", re.escape(template)), re.DOTALL)

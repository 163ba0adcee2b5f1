"""Words of batch files: variables are expanded as cmd does it, and commands are split at spaces."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lorapipe.config_import.shells import LONGEST, Word

VARIABLE = re.compile(r"%(\w+)%|!(\w+)!|%([0-9*])|%~?(dp0|0)|%%~?([A-Za-z])")


class Expansion:
    """Expands the variables that it is given, by their names in small letters."""

    def __init__(self, variables: Mapping[str, Word]) -> None:
        self.variables = variables

    def text(self, raw: str, line: int) -> Word:
        """Return a text with its variables expanded."""
        unknown = ""

        def value(found: re.Match[str]) -> str:
            nonlocal unknown
            name = (found[1] or found[2] or (f"%{found[5]}" if found[5] else "")).lower()
            if name in self.variables:
                unknown = unknown or self.variables[name].unknown
                return self.variables[name].text
            if found[4]:
                return ""
            unknown = unknown or f"{found[0]}, which the script does not set"
            return ""

        return Word(VARIABLE.sub(value, raw)[:LONGEST], line, unknown)

    def words(self, line: int, text: str) -> tuple[Word, ...]:
        """Return the words of a command: separated by spaces outside quotes, each with its line."""
        found: list[Word] = []
        for offset, row in enumerate(text.split("\n")):
            for raw in re.findall(r"(?:\"[^\"]*\"?|\^.|[^\s\"^])+", row.lstrip("@ \t")):
                for part in _split(self.text(raw, line + offset), quoted=raw.startswith('"')):
                    found.append(part)
        for place, word in enumerate(found):
            if word.text in (">", ">>", "|", "&", "&&"):
                return tuple(found[:place])
        return tuple(found)


def _split(word: Word, quoted: bool) -> list[Word]:
    """Return the words that an expansion gives: a variable may hold several options."""
    parts = [word.text] if quoted else re.findall(r"(?:\"[^\"]*\"?|[^\s\"])+", word.text)
    plain = [re.sub(r"\^(.)", r"\1", part).replace('"', "") for part in parts]
    return [Word(part, word.line, word.unknown) for part in plain] or ([word] if word.unknown else [])

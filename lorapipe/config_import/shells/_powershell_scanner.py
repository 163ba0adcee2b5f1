"""PowerShell's characters: strings with variables, brackets, comments and line ends."""

from __future__ import annotations

import re

from lorapipe.config_import.shells import ShellSyntaxError

CLOSING = {"(": ")", "{": "}", "[": "]"}
SPACE = re.compile(r"(?:[ \t\r]|`\r?\n|<#.*?#>|#[^\n]*)+", re.DOTALL)
ANY_SPACE = re.compile(r"(?:[ \t\r\n;]|`\r?\n|<#.*?#>|#[^\n]*)+", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "`": "`"}


class Scanner:
    """A place in a script, which moves on with what is read."""

    def __init__(self, text: str, first_line: int = 1) -> None:
        self.text = text.replace("\r\n", "\n")
        self.place = 0
        self.first_line = first_line

    @property
    def line(self) -> int:
        """The line of the present place."""
        return self.first_line + self.text.count("\n", 0, self.place)

    @property
    def rest(self) -> str:
        """The next characters, for comparisons."""
        return self.text[self.place : self.place + 400]

    def is_over(self) -> bool:
        """Whether everything is read."""
        return self.place >= len(self.text)

    def skip(self, ends: bool = False) -> None:
        """Pass over spaces, comments and continued lines; with `ends`, also ends of lines and statements."""
        if found := (ANY_SPACE if ends else SPACE).match(self.text, self.place):
            self.place = found.end()

    def to_end(self) -> None:
        """Pass over the rest of a statement, with its brackets and texts."""
        while not self.is_over() and self.rest[0] not in "\n;":
            if self.rest[0] in "({[":
                self.block()
            elif self.rest[0] in "\"'":
                self.string()
            else:
                self.place += 1
            self.skip()

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read what matches the pattern here."""
        found = pattern.match(self.text, self.place)
        if found:
            self.place = found.end()
        return found

    def block(self) -> tuple[str, int]:
        """Read a bracket with everything up to the one that closes it; return the inside and its line."""
        opening, start, line = self.text[self.place], self.place + 1, self.line
        self.place = self._closing(self.place, opening, CLOSING[opening])
        return self.text[start : self.place - 1], line

    def _closing(self, place: int, opening: str, closing: str) -> int:
        deep, line = 0, self.line
        while place < len(self.text):
            char = self.text[place]
            if char == "`":
                place += 2
                continue
            if char in "\"'":
                place = self._end_of_string(place)
                continue
            if char == "#" or self.text.startswith("<#", place):
                found = re.compile(r"<#.*?#>|#[^\n]*", re.DOTALL).match(self.text, place)
                place = found.end() if found else place + 1
                continue
            deep += (char == opening) - (char == closing)
            place += 1
            if not deep:
                return place
        raise ShellSyntaxError(line, f"{opening!r} is not closed")

    def _end_of_string(self, place: int) -> int:
        quote, line = self.text[place], self.first_line + self.text.count("\n", 0, place)
        if self.text[place - 1 : place] == "@" and self.text[place + 1 : place + 2] == "\n":
            end = self.text.find(f"\n{quote}@", place)
            if end < 0:
                raise ShellSyntaxError(line, 'a text (@" … "@) is not closed')
            return end + 3
        place += 1
        while place < len(self.text):
            if self.text[place] == "`" and quote == '"':
                place += 2
            elif self.text[place] == quote:
                if self.text[place + 1 : place + 2] != quote:
                    return place + 1
                place += 2
            elif self.text.startswith("$(", place) and quote == '"':
                place = self._closing(place + 1, "(", ")")
            else:
                place += 1
        raise ShellSyntaxError(line, "a quote is not closed")

    def string(self) -> tuple[str, bool]:
        """Read a text in quotes; return its inside, and whether variables in it are expanded."""
        here = self.text[self.place] == "@"
        start = self.place + here
        quote = self.text[start]
        self.place = self._end_of_string(start)
        inner = self.text[start + 2 : self.place - 3] if here else self.text[start + 1 : self.place - 1]
        return inner.replace(quote * 2, quote), quote == '"'


def unescaped(text: str) -> str:
    """Replace PowerShell's escapes by what they mean."""
    return re.sub(r"`(.)", lambda found: ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)

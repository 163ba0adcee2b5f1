"""Typing errors that are valid YAML: odd spaces, typographic quotes, a colon without a space, a path with escapes.

`yaml_errors` has those that are syntax errors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

ODD_SPACES = {
    "\u00a0": "no-break space", "\u1680": "ogham space", "\u202f": "narrow no-break space", "\u205f": "mathematical space",
    "\u3000": "full-width space", "\u200b": "zero-width space", "\u200c": "zero-width character",
    "\u200d": "zero-width character", "\u200e": "direction mark", "\u200f": "direction mark", "\u2060": "zero-width space",
    "\ufeff": "byte order mark", "\u2028": "line separator", "\u2029": "paragraph separator",
    **{chr(code): "space of a typesetter" for code in range(0x2000, 0x200B)},
}  # fmt: skip
"""Characters from web pages or word processors that look like a space, or are invisible, but are text in YAML."""
ODD = "".join(ODD_SPACES)
NAME = r"[^\W\d][\w.-]*"
SEEN = 2000
"""Characters of a line that are searched."""
EXCERPT_LENGTH = 100
IN_QUOTES = 'Use single quotes, or / for \\: "C:/Users/me" is the same folder to Windows.'
FLOW_HINT = 'Inside { } and [ ], put ${name} in quotes: "${name}".'


class Typo(NamedTuple):
    """A common typing error: its pattern in a line (`at` is the group to point at), its description and cure.

    `search` compiles the pattern on first use, and `re` caches it, since most documents need none of them.
    """

    looks: str
    what: str
    cure: str
    at: int = 0

    def search(self, line: str) -> re.Match[str] | None:
        """Search a line for the error."""
        return re.search(self.looks, line)


def odd_name(character: str) -> str:
    """Return the name of a character: `no-break space (U+00A0)`."""
    return f"{ODD_SPACES.get(character, 'character')} (U+{ord(character):04X})"


LOOSE = (
    Typo(f"^[{ODD}]|[{ODD}]$", "begins or ends with a {character}.",
         "Replace it by a plain space, or remove it."),
    Typo(r"(?s)^[“„«].*[”“»]$|^‘.*’$|^[“„«](?!.*[”»])|^[^“„«]*[”»]$",
         "has typographic quotes, which are part of the text in YAML.",
         "Type straight ones: \" or '."),
    Typo(r"^[–—−•·]\s", "begins with a mark that does not begin a list.", "Type '-' and a space."),
)  # fmt: skip
"""Checks of any text without quotes."""
LOOSE_NAMES = (
    Typo(f"[{ODD}]", "contains a {character}.", "Replace it by a plain space, or remove it."),
    Typo(rf"^{NAME}\s*：", "has a full-width colon.", "Type ':' and a space."),
    Typo(rf"^{NAME}:\S", "lacks a space after ':'.", "Write `name: value`."),
)
"""Checks of names without quotes."""
LOOSE_LINES = (
    Typo(rf"^{NAME}(：|:(?![\s/\\]|$))", "lacks a space after ':'.", "Write `name: value`."),
    Typo(rf"^{NAME} *=(?!=)", "is written with '='.", "Write `name: value`."),
    Typo(r"^-[^\s\d.-]", "lacks a space after '-'.", "Write `- value`."),
)
"""Checks of text without quotes that begins on the line below its name, where settings are expected."""
ESCAPES = {
    "t": "a tab", "n": "the end of a line", "r": "the end of a line", "b": "a backspace", "a": "a bell", "f": "a form feed",
    "v": "a tab", "e": "an escape", "0": "a zero", "_": "a no-break space", "N": "the end of a line",
    "L": "the end of a line", "P": "the end of a paragraph",
}  # fmt: skip
"""Letters after \\ in Windows paths, and their meaning as escapes in double quotes."""
WINDOWS_PATH = r'"([A-Za-z]:\\|\\\\|\.{1,2}\\)'
UNSEEN = "[\x00-\x1f\x7f-\xa0\u2028\u2029]"


def loose(text: str, typos: Sequence[Typo]) -> tuple[str, str] | None:
    """Return what is probably wrong with a text that is valid YAML, and the cure; None if nothing."""
    for typo in typos:
        if found := typo.search(text[:SEEN]):
            odd = next((each for each in found[0] if each in ODD_SPACES), "")
            return typo.what.format(character=odd_name(odd) if odd else ""), typo.cure
    return None


def visible(text: str) -> str:
    """Return a text with its odd spaces as escapes."""
    return "".join(f"\\u{ord(each):04x}" if each in ODD_SPACES else each for each in text)


def is_broken_path(value: str, source: str) -> bool:
    """Whether a text in double quotes is a Windows path in which `\\t` or `\\n` became a tab or a line break."""
    return bool(re.search(UNSEEN, value) and re.match(WINDOWS_PATH, source))


def escaped(source: str) -> str:
    """Describe a broken path by its text in the file: `"D:\\train" is not a path: it has a tab (\\t)`."""
    whole = re.match(r'"(?:[^"\\]|\\.)*"?', source)
    written = whole[0] if whole else source
    letter = next((found[1] for found in re.finditer(r"\\(.)", written) if found[1] in ESCAPES), "")
    has = f": it has {ESCAPES[letter]} (\\{letter})" if letter else ""
    return f"{written[:EXCERPT_LENGTH]} is not a path{has}"


def marked(line: str, column: int) -> str:
    """Return a line, indented, with a mark under a column (from 1); of a long line, the part around it."""
    start = max(0, column - EXCERPT_LENGTH // 2) if len(line) > EXCERPT_LENGTH else len(line) - len(line.lstrip())
    shown = line[start : start + EXCERPT_LENGTH].rstrip()
    return f"    {shown}\n    {' ' * max(0, column - 1 - start)}^" if shown else ""

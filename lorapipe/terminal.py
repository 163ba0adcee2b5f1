"""Print text to a terminal, whatever characters it supports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

ASCII = {
    "✓": "+",
    "✗": "x",
    "▸": ">",
    "·": "-",
    "→": "->",
    "−": "-",
    "×": "x",
    "Δ": "d",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "█": "#",
}


class Printer:
    """Writes text to a stream, and replaces characters that it cannot encode: old Windows consoles have no arrows."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        self._table = {} if encoding.startswith("utf") else str.maketrans(ASCII)
        self._encoding = encoding

    def spell(self, text: str) -> str:
        """Return the text with replacements for characters that the stream cannot show."""
        if not self._table:
            return text.encode("utf-8", "replace").decode("utf-8")  # a file name may contain surrogates
        return text.translate(self._table).encode(self._encoding, "replace").decode(self._encoding)

    def line(self, text: str = "") -> None:
        """Print a line."""
        self.stream.write(self.spell(text) + "\n")
        self.stream.flush()


def shown_path(path: str) -> str:
    """Return a path as a user would type it: relative if it is below the current folder."""
    try:
        return str(Path(os.path.normpath(path)).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path

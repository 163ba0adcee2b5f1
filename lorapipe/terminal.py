"""Text on a terminal, whatever characters it has."""

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
}


class Printer:
    """Writes text to a stream, with replacements for what it cannot encode: old Windows consoles have no arrows."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        self._table = {} if encoding.startswith("utf") else str.maketrans(ASCII)
        self._encoding = encoding

    def spell(self, text: str) -> str:
        """The text as the stream can show it."""
        if not self._table:
            return text.encode("utf-8", "replace").decode("utf-8")  # a file name may hold what is no character
        return text.translate(self._table).encode(self._encoding, "replace").decode(self._encoding)

    def line(self, text: str = "") -> None:
        """One line."""
        self.stream.write(self.spell(text) + "\n")
        self.stream.flush()


def shown_path(path: str) -> str:
    """A path as one would type it here: relative where it lies below this folder."""
    try:
        return str(Path(os.path.normpath(path)).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path

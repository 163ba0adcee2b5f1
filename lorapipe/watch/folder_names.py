"""Derive from a dropped folder's name the name of its results, the trigger word and the repeats."""

from __future__ import annotations

import re
import unicodedata

from lorapipe import kohya_folders
from lorapipe.kohya_folders import FolderName

MOST_BYTES = 100
"""Most bytes of a name, of 255, so that suffixes like `-v12.safetensors` fit."""
RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(1, 10))}


def title_of(name: str) -> str:
    """Return a file name that is valid on every system: without characters and words that Windows refuses, and short."""
    text = _words(name)
    text = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", text)
    while len(text.encode()) > MOST_BYTES:
        text = text[:-1]
    text = text.strip(" .") or "lora"
    return f"_{text}" if text.split(".")[0].casefold() in RESERVED else text


def trigger_of(name: str) -> str:
    """Return the trigger word: underscores become spaces, and characters that separate tags are dropped.

    The words of `10_penny woman` are taken unchanged, since they are also the caption.
    """
    text = _words(name)
    if is_kohyas(name):
        return text
    return " ".join(re.sub(r"[_,(){}\[\]<>|\x00-\x1f]+", " ", text)[:MOST_BYTES].split()) or "lora"


def repeats_of(name: str) -> int:
    """Return the repeats in a folder's name; 1 if it has none."""
    found = _kohyas(name)
    return max(1, found.repeats) if found else 1


def is_kohyas(name: str) -> bool:
    """Return whether the name has the form `10_penny woman`, with words."""
    return _kohyas(name) is not None


def _kohyas(name: str) -> FolderName | None:
    found = kohya_folders.parse(name)
    return found if found and found.word else None


def _words(name: str) -> str:
    """Return a name without kohya's number, as valid NFC text."""
    found = _kohyas(name)
    text = found.word if found else name
    return unicodedata.normalize("NFC", text).encode("utf-8", "replace").decode("utf-8")

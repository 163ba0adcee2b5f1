"""Signs of Unicode encodings: byte order marks, and characters that no text contains."""

from __future__ import annotations

import codecs
import re

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order mark → encoding."""
WIDE = ("utf-16-le", "utf-16-be")
"""UTF-16 without a mark."""
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")

"""Measure, wrap and draw text in any script with Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Font: TypeAlias = "FreeTypeFont | ImageFont"

FALLBACKS = (
    "malgun.ttf",  # Windows, then macOS, then Linux
    "AppleSDGothicNeo.ttc",
    "NotoSansCJK-Regular.ttc",
    "NotoSansKR-Regular.otf",
    "NanumGothic.ttf",
    "DroidSansFallbackFull.ttf",
    "DejaVuSans.ttf",
)
"""System fonts for characters that Pillow's Latin font lacks. A character that no font has becomes a box."""


def write(draw: ImageDraw, x: float, y: float, text: str, size: int, ink: str) -> None:
    """Draw a line of text, its top left corner at (x, y)."""
    for part, font in _runs(text, size):
        draw.text((round(x), round(y)), part, font=font, fill=ink, anchor="la")
        x += font.getlength(part)


def width(text: str, size: int) -> int:
    """Return the width of a line of text in pixels."""
    length: float = sum(font.getlength(part) for part, font in _runs(text, size))
    return round(length)


def wrap(text: str, room: int, lines: int, size: int) -> list[str]:
    """Wrap text at spaces into at most `lines` lines of `room` pixels; truncated text ends with …."""
    text = " ".join(text[: 100 * lines].split()) + ("…" if len(text) > 100 * lines else "")
    cut: list[str] = []
    while text:
        count = _fitting(text, room, size)
        if count < len(text) and len(cut) == lines - 1:
            return [*cut, text[: _fitting(text, room - width("…", size), size)].rstrip() + "…"]
        space = text.rfind(" ", 0, count + 1)
        if count < len(text) and space > 0:
            count = space
        cut.append(text[:count].rstrip())
        text = text[count:].lstrip()
    return cut


def _fitting(text: str, room: int, size: int) -> int:
    """Return how many characters of the text fit, at least 1."""
    used = 0.0
    for count, char in enumerate(text):
        used += _font_for(char, size).getlength(char)
        if used > room and count:
            return count
    return len(text)


def _runs(text: str, size: int) -> Iterator[tuple[str, Font]]:
    """Split text into parts, each with a font that has its characters."""
    part, current = "", None
    for char in text:
        font = _font_for(char, size)
        if font is not current and part:
            yield part, current
            part = ""
        part, current = part + (char if char.isprintable() else " "), font
    if part:
        yield part, current


@cache
def _fonts(size: int) -> list[Font]:
    from PIL import ImageFont

    fonts = [ImageFont.load_default(size)]
    for name in FALLBACKS:
        try:
            fonts.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return fonts


@cache
def _font_for(char: str, size: int) -> Font:
    fonts = _fonts(size)
    return next((font for font in fonts if _has(font, char)), fonts[0])


def _has(font: Font, char: str) -> bool:
    """Whether a font has a character: its glyph differs from that of a character that no font has."""
    return char.isspace() or bytes(font.getmask(char)) != bytes(font.getmask("\U0010fffe"))

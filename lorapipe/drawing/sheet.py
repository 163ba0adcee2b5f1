"""A sheet of labelled pictures: boxes, pictures and texts are collected first and drawn when the size is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lorapipe.drawing.text import width, write

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER, INK, FAINT, RULE, ACCENT, MAT = "#fbfaf8", "#22201d", "#86807a", "#ddd8d2", "#b4512a", "#efece7"


class Sheet:
    """Collects the elements of a sheet. Positions are top left corners; all sizes are in pixels.

    Boxes are drawn first, then pictures, then texts. `right` is the right end of the longest text.
    """

    def __init__(self) -> None:
        self.right = 0
        self._boxes: list[tuple[tuple[int, int, int, int], str]] = []
        self._pictures: list[tuple[int, int, Image, float]] = []
        self._texts: list[tuple[int, int, str, int, str]] = []

    def box(self, left: int, top: int, right: int, bottom: int, colour: str) -> None:
        """Add a filled box; `right` and `bottom` are exclusive."""
        self._boxes.append(((left, top, right - 1, bottom - 1), colour))

    def rule(self, left: int, top: int, length: int) -> None:
        """Add a thin horizontal line."""
        self.box(left, top, left + length, top + 1, RULE)

    def picture(self, x: int, y: int, picture: Image, scale: float = 1.0) -> None:
        """Add a picture, scaled by a factor."""
        self._pictures.append((x, y, picture, scale))

    def text(self, x: int, y: int, text: str, size: int, ink: str = INK) -> None:
        """Add a line of text."""
        self._texts.append((x, y, text, size, ink))
        self.right = max(self.right, x + width(text, size))

    def lines(self, x: int, y: int, lines: Iterable[str], size: int, height: int, ink: str = INK) -> None:
        """Add lines of text, `height` apart."""
        for number, line in enumerate(lines):
            self.text(x, y + number * height, line, size, ink)

    def noted(self, x: int, y: int, text: str, size: int, note: str, note_size: int, gap: int, ink: str = INK) -> None:
        """Add a line of text and, `gap` after it on the same baseline, a fainter note."""
        self.text(x, y, text, size, ink)
        self.text(x + width(text, size) + gap, y + size - note_size, note, note_size, FAINT)

    def drawn(self, size: tuple[int, int]) -> Image:
        """Draw the sheet as a picture of this width and height."""
        import PIL.Image
        from PIL import ImageDraw

        image = PIL.Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(image)
        for box, colour in self._boxes:
            draw.rectangle(box, fill=colour)
        for x, y, picture, scale in self._pictures:
            image.paste(_scaled(picture, scale), (x, y))
        for x, y, text, text_size, ink in self._texts:
            write(draw, x, y, text, text_size, ink)
        return image


def scaled_size(picture: Image, scale: float) -> tuple[int, int]:
    """Return the size of a picture at a scale, at least 1 pixel."""
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def _scaled(picture: Image, scale: float) -> Image:
    """Scale by nearest neighbour at whole factors, else by Lanczos."""
    from PIL.Image import Resampling

    whole = scale >= 1 and scale == round(scale)
    kind = Resampling.NEAREST if whole else Resampling.LANCZOS
    return picture.convert("RGB").resize(scaled_size(picture, scale), kind)

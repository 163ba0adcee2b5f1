"""The grid: every picture beside those it should be compared with, labelled, in one PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import replacing
from lorapipe.drawing.text import width, wrap, write

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER, INK, FAINT, RULE, ACCENT = "#fbfaf8", "#22201d", "#86807a", "#ddd8d2", "#b4512a"
SMALL = 128
"""Pictures whose shorter side is less are enlarged, by a whole factor and pixel by pixel, so as to be seen."""
WIDEST, MOST_PIXELS = 4800, 24_000_000
"""What viewers and chats still open gladly."""


@dataclass(frozen=True)
class Column:
    """A column's title, what is written small below it, and whether it is the one to look at."""

    title: str
    note: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Row:
    """A row's title and its cells, one a column; each has one picture or more, all of one size."""

    title: str
    cells: tuple[tuple[Image, ...], ...]


@dataclass(frozen=True)
class Table:
    """Pictures by row and column."""

    title: str
    detail: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def draw(title: str, detail: str, training: Sequence[Image], tables: Sequence[Table]) -> Image:
    """The grid: a title, a strip of training pictures to compare with, and the tables one below the other."""
    import PIL.Image
    from PIL import ImageDraw

    for scale in _scales(tables):
        page = _Page(scale, _zoom(tables, scale))
        page.head(title, detail)
        page.strip(training, max(map(page.table_width, tables)))
        for table in tables:
            page.table(table)
        if page.right <= WIDEST and page.right * page.bottom <= MOST_PIXELS:
            break
    sheet = PIL.Image.new("RGB", (page.right + page.margin, page.bottom + page.margin - page.gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    for box, ink in page.boxes:
        pen.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=ink)
    for x, y, picture, by in page.pictures:
        sheet.paste(_scaled(picture, by), (x, y))
    for x, y, text, size, ink in page.texts:
        write(pen, x, y, text, size, ink)
    return sheet


def save(grid: Image, path: Path) -> None:
    """Write the PNG aside and rename it into place."""
    with replacing(path) as part:
        grid.save(part, format="PNG")


def _scales(tables: Sequence[Table]) -> list[float]:
    """Factors to try on the pictures: a whole one for tiny pictures, else 1, then ever smaller until it fits."""
    side = min(min(picture.size) for table in tables for row in table.rows for cell in row.cells for picture in cell)
    largest = math.ceil(SMALL / side) if side < SMALL else 1
    return [largest * 0.85**step for step in range(20)]


def _zoom(tables: Sequence[Table], scale: float) -> float:
    """The lettering's factor, so that it goes with the pictures' size."""
    return min(max(1.0, scale * tables[0].rows[0].cells[0][0].height / 160), 3.0)


def _scaled(picture: Image, scale: float) -> Image:
    from PIL.Image import Resampling

    whole = scale >= 1 and scale == round(scale)
    kind = Resampling.NEAREST if whole else Resampling.LANCZOS
    return picture.convert("RGB").resize(_size(picture, scale), kind)


def _size(picture: Image, scale: float) -> tuple[int, int]:
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


class _Page:
    """Lays everything out from top to bottom as lists of things to draw, so that the size is known before drawing.

    `scale` multiplies the pictures, `zoom` the lettering and the space around them.
    """

    def __init__(self, scale: float, zoom: float) -> None:
        self.scale = scale
        self.margin, self.gap, self.frame, self.label = (round(zoom * each) for each in (36, 12, 4, 172))
        self.title, self.heading, self.size, self.small, self.line = (
            round(zoom * each) for each in (27, 18, 15, 13, 20)
        )
        self.right = 0
        self.bottom = self.margin
        self.boxes: list[tuple[tuple[int, int, int, int], str]] = []
        self.pictures: list[tuple[int, int, Image, float]] = []
        self.texts: list[tuple[int, int, str, int, str]] = []

    def head(self, title: str, detail: str) -> None:
        """What the grid says, and how it was made."""
        self._text(self.margin, self.bottom, title, self.title)
        self.bottom += 2 * self.line
        self._text(self.margin, self.bottom, detail, self.size, FAINT)
        self.bottom += self.line + self.gap

    def strip(self, training: Sequence[Image], room: int) -> None:
        """As many training pictures as fit side by side, smaller than the others."""
        if not training:
            return
        self._rule(room)
        self._label("What was trained on", 2, FAINT)
        x = self.margin + self.label
        side = round(0.75 * self.scale * min(min(picture.size) for picture in training))
        for picture in training:
            wide, _ = _size(picture, side / picture.height)
            if x + wide > self.margin + room:
                break
            self.pictures.append((x, self.bottom, picture, side / picture.height))
            x += wide + self.gap
        self.bottom += side + 2 * self.gap

    def table(self, table: Table) -> None:
        """A heading, the columns' titles, and the rows."""
        wide = self.table_width(table)
        self._rule(wide)
        self._text(self.margin, self.bottom, table.title, self.heading)
        x = self.margin + width(table.title, self.heading) + self.gap
        self._text(x, self.bottom + self.heading - self.size, table.detail, self.size, FAINT)
        self.bottom += 2 * self.line
        lefts = self._lefts(table)
        for column, left in zip(table.columns, lefts, strict=True):
            self._text(left, self.bottom, column.title, self.heading, ACCENT if column.marked else INK)
            x = left + width(column.title, self.heading) + self.gap // 2
            self._text(x, self.bottom + self.heading - self.small, _note(column), self.small, FAINT)
        self.bottom += self.line + 2 * self.frame
        for row in table.rows:
            self._row(row, table.columns, lefts)
        self.right = max(self.right, self.margin + wide)

    def _row(self, row: Row, columns: tuple[Column, ...], lefts: list[int]) -> None:
        tall = max(self._cell_size(cell)[1] for cell in row.cells)
        self._label(row.title, max(1, tall // self.line), INK)
        for cell, column, left in zip(row.cells, columns, lefts, strict=True):
            wide, high = self._cell_size(cell)
            if column.marked:
                box = (left - self.frame, self.bottom - self.frame)
                self.boxes.append(((*box, left + wide + self.frame, self.bottom + high + self.frame), ACCENT))
            self._cell(cell, left)
        self.bottom += tall + self.gap + self.frame

    def _cell(self, cell: Sequence[Image], left: int) -> None:
        across = _across(len(cell))
        for place, picture in enumerate(cell):
            wide, high = _size(picture, self.scale)
            x = left + (place % across) * (wide + 1)
            self.pictures.append((x, self.bottom + (place // across) * (high + 1), picture, self.scale))

    # ------------------------------------------------------------------------------------------------------- measures

    def table_width(self, table: Table) -> int:
        """From the left margin to the end of the last column."""
        last = max(self._cell_size(row.cells[-1])[0] for row in table.rows)
        heading = self.label + width(f"{table.title}  {table.detail}", self.heading)
        return max(self._lefts(table)[-1] + last - self.margin, heading)

    def _lefts(self, table: Table) -> list[int]:
        lefts, x = [], self.margin + self.label
        for place, column in enumerate(table.columns):
            lefts.append(x)
            title = width(column.title, self.heading) + self.gap // 2 + width(_note(column), self.small)
            x += max(title, *(self._cell_size(row.cells[place])[0] for row in table.rows)) + self.gap + self.frame
        return lefts

    def _cell_size(self, cell: Sequence[Image]) -> tuple[int, int]:
        across = _across(len(cell))
        down = math.ceil(len(cell) / across)
        wide, high = _size(cell[0], self.scale)
        return across * (wide + 1) - 1, down * (high + 1) - 1

    def _rule(self, room: int) -> None:
        self.boxes.append(((self.margin, self.bottom, self.margin + room, self.bottom + 1), RULE))
        self.bottom += self.gap + self.frame

    def _label(self, text: str, lines: int, ink: str) -> None:
        for number, line in enumerate(wrap(text, self.label - 2 * self.gap, lines, self.size)):
            self._text(self.margin, self.bottom + number * self.line, line, self.size, ink)

    def _text(self, x: int, y: int, text: str, size: int, ink: str = INK) -> None:
        self.texts.append((x, y, text, size, ink))
        self.right = max(self.right, x + width(text, size))


def _note(column: Column) -> str:
    return column.note or ("best" if column.marked else "")


def _across(count: int) -> int:
    """Pictures side by side in a cell of so many."""
    return count if count <= 2 else math.ceil(math.sqrt(count))

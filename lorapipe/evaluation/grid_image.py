"""Draws the grid: every picture beside those to compare it with, labelled, in one PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import replacing
from lorapipe.drawing.sheet import ACCENT, FAINT, INK, Sheet, scaled_size
from lorapipe.drawing.text import width, wrap

if TYPE_CHECKING:
    from PIL.Image import Image

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
    for scale in _scales(tables):
        page = _Layout(scale, _zoom(tables, scale))
        page.head(title, detail)
        page.strip(training, max(map(page.table_width, tables)))
        for table in tables:
            page.table(table)
        if page.right <= WIDEST and page.right * page.bottom <= MOST_PIXELS:
            break
    return page.sheet.drawn((page.right + page.margin, page.bottom + page.margin - page.gap))


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


class _Layout:
    """Places everything on a sheet, from top to bottom. `scale` multiplies the pictures, `zoom` lettering and space."""

    def __init__(self, scale: float, zoom: float) -> None:
        self.scale = scale
        self.margin, self.gap, self.frame, self.label = (round(zoom * each) for each in (36, 12, 4, 172))
        self.title, self.heading, self.size, self.small, self.line = (
            round(zoom * each) for each in (27, 18, 15, 13, 20)
        )
        self.bottom = self.margin
        self.sheet = Sheet()
        self._tables_end = 0

    @property
    def right(self) -> int:
        """Where the widest thing ends."""
        return max(self.sheet.right, self._tables_end)

    def head(self, title: str, detail: str) -> None:
        """What the grid says, and how it was made."""
        self.sheet.text(self.margin, self.bottom, title, self.title)
        self.bottom += 2 * self.line
        self.sheet.text(self.margin, self.bottom, detail, self.size, FAINT)
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
            wide, _ = scaled_size(picture, side / picture.height)
            if x + wide > self.margin + room:
                break
            self.sheet.picture(x, self.bottom, picture, side / picture.height)
            x += wide + self.gap
        self.bottom += side + 2 * self.gap

    def table(self, table: Table) -> None:
        """A heading, the columns' titles, and the rows."""
        wide, lefts = self.table_width(table), self._lefts(table)
        self._rule(wide)
        self.sheet.noted(self.margin, self.bottom, table.title, self.heading, table.detail, self.size, self.gap)
        self.bottom += 2 * self.line
        for column, left in zip(table.columns, lefts, strict=True):
            ink = ACCENT if column.marked else INK
            note = _note(column)
            self.sheet.noted(left, self.bottom, column.title, self.heading, note, self.small, self.gap // 2, ink)
        self.bottom += self.line + 2 * self.frame
        for row in table.rows:
            self._row(row, table.columns, lefts)
        self._tables_end = max(self._tables_end, self.margin + wide)

    def _row(self, row: Row, columns: tuple[Column, ...], lefts: list[int]) -> None:
        tall = max(self._cell_size(cell)[1] for cell in row.cells)
        self._label(row.title, max(1, tall // self.line), INK)
        for cell, column, left in zip(row.cells, columns, lefts, strict=True):
            wide, high = self._cell_size(cell)
            if column.marked:
                top, around = self.bottom, self.frame
                self.sheet.box(left - around, top - around, left + wide + around, top + high + around, ACCENT)
            self._cell(cell, left)
        self.bottom += tall + self.gap + self.frame

    def _cell(self, cell: Sequence[Image], left: int) -> None:
        across = _across(len(cell))
        for place, picture in enumerate(cell):
            wide, high = scaled_size(picture, self.scale)
            x = left + (place % across) * (wide + 1)
            self.sheet.picture(x, self.bottom + (place // across) * (high + 1), picture, self.scale)

    def _rule(self, length: int) -> None:
        self.sheet.rule(self.margin, self.bottom, length)
        self.bottom += self.gap + self.frame

    def _label(self, text: str, lines: int, ink: str) -> None:
        wrapped = wrap(text, self.label - 2 * self.gap, lines, self.size)
        self.sheet.lines(self.margin, self.bottom, wrapped, self.size, self.line, ink)

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
        wide, high = scaled_size(cell[0], self.scale)
        return across * (wide + 1) - 1, down * (high + 1) - 1


def _note(column: Column) -> str:
    return column.note or ("best" if column.marked else "")


def _across(count: int) -> int:
    """Pictures side by side in a cell of so many."""
    return count if count <= 2 else math.ceil(math.sqrt(count))

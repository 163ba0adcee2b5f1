"""Draws what was chosen, and what was not, beside the true pictures, in one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.evaluation import grid_image
from lorapipe.evaluation.grid_image import Column, Row, Table
from lorapipe.percent import percent

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.candidates import Candidate

ACROSS = 6
SHOWN = 48
"""So many pictures that were not chosen are shown, the best first."""


def save(true: Sequence[Image], chosen: Sequence[Candidate], candidates: Sequence[Candidate], path: Path) -> None:
    """Draw the sheet and write it aside and rename it into place."""
    paths = {each.path for each in chosen}
    left = sorted((each for each in candidates if each.path not in paths), key=lambda each: -each.figures.merit)
    tables = [_table("Chosen", chosen, marked=True)]
    if left:
        tables.append(_table("Not chosen", left[:SHOWN], marked=False))
    title = f"{len(chosen)} of {len(candidates)} pictures"
    detail = "by likeness × following × sound, and how they differ; the figure is this product"
    grid_image.save(grid_image.draw(title, detail, true, tables), path)


def _table(title: str, shown: Sequence[Candidate], marked: bool) -> Table:
    rows = []
    for start in range(0, len(shown), ACROSS):
        some = shown[start : start + ACROSS]
        cells = tuple((_opened(each),) for each in some)
        blank = ((_blank(cells[0][0]),),) * (min(ACROSS, len(shown)) - len(cells))
        rows.append(Row("   ".join(percent(each.figures.merit) for each in some), (*cells, *blank)))
    columns = tuple(Column(f"{place + 1}", marked=marked) for place in range(min(ACROSS, len(shown))))
    return Table(title, f"{len(shown)}", columns, tuple(rows))


def _opened(candidate: Candidate) -> Image:
    from PIL import Image

    with Image.open(candidate.path) as picture:
        return picture.convert("RGB")


def _blank(like: Image) -> Image:
    """A picture of the paper's colour where a row has no more."""
    from PIL import Image

    from lorapipe.drawing.sheet import PAPER

    return Image.new("RGB", like.size, PAPER)

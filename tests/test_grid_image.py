"""The grid: readable whatever the pictures' size and the prompts' script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lorapipe.evaluation import grid_image
from lorapipe.evaluation.grid_image import Column, Row, Table

COLOURS = {"base": (200, 30, 30), "step 10": (30, 200, 30), "step 20": (30, 30, 200)}
PROMPTS = ("penny, meadow", "페니, 초원 🌻 " * 40, "", "<b>&amp;\x00\n tab\t")


def table(side: int, count: int = 2, prompts: tuple[str, ...] = PROMPTS) -> Table:
    columns = tuple(Column(name, marked=name == "step 20") for name in COLOURS)
    cells = tuple((Image.new("RGB", (side, side), colour),) * count for colour in COLOURS.values())
    return Table("Snapshots", "at strength 1", columns, tuple(Row(prompt, cells) for prompt in prompts))


def runs(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int]:
    """How many pixels of a colour, and the widest row of them."""
    same = (np.asarray(picture) == colour).all(axis=2)
    return int(same.sum()), int(same.sum(axis=1).max())


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_picture_is_there_whole(count: int) -> None:
    drawn = grid_image.draw("title", "detail", [], [table(64, count)])
    for colour in COLOURS.values():
        assert runs(drawn, colour)[0] == len(PROMPTS) * count * 128 * 128, "64 px pictures are doubled, pixel by pixel"


def test_columns_are_in_order_and_the_best_is_framed() -> None:
    drawn = np.asarray(grid_image.draw("title", "detail", [], [table(64, 1)]))
    lefts = [int(np.argwhere((drawn == colour).all(axis=2))[:, 1].min()) for colour in COLOURS.values()]
    assert lefts == sorted(lefts)
    frame = tuple(int(grid_image.ACCENT[place : place + 2], 16) for place in (1, 3, 5))
    assert (drawn[:, lefts[2] - 2] == frame).all(axis=1).sum() >= 128 * len(PROMPTS)
    assert not (drawn[:, lefts[1] - 2] == frame).all(axis=1).any()


def test_large_pictures_are_shrunk_to_what_viewers_open() -> None:
    drawn = grid_image.draw("title", "detail", [], [table(768, 4)])
    assert drawn.width <= grid_image.WIDEST + 120 and drawn.width * drawn.height <= 1.1 * grid_image.MOST_PIXELS
    assert runs(drawn, COLOURS["base"])[1] > 600, "and no smaller than need be"


def test_training_pictures_are_shown_as_far_as_there_is_room() -> None:
    training = [Image.new("RGB", (80, 64), (1, 2, 3)) for _ in range(50)]
    drawn = grid_image.draw("title", "detail", training, [table(64)])
    bare = grid_image.draw("title", "detail", [], [table(64)])
    assert drawn.width == bare.width and drawn.height > bare.height
    assert runs(drawn, (1, 2, 3))[0] >= 4 * 90 * 90


def test_tables_of_several_shapes_fit_on_one_sheet(tmp_path: Path) -> None:
    drawn = grid_image.draw("t", "d", [], [table(64), table(64, 1, ("only",))])
    grid_image.save(drawn, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as read:
        assert read.size == drawn.size
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]

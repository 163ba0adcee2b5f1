"""Draws a figure of the guide from a pipeline that has run: a row for each training, with its last previews.

python -m tools.guide_figure pipelines/guide/rates.yaml docs/guide/rates.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import PIL.Image

from lorapipe.drawing.sheet import FAINT, Sheet
from lorapipe.pipeline import loader
from lorapipe.stages.train import Train

SIDE, GAP, LABEL, TEXT = 128, 8, 170, 15
"""Sizes in pixels."""


def draw(pipeline: Path) -> PIL.Image.Image:
    """Return the figure. The pipeline's results are read from its folder `outputs`."""
    stages = {name: stage for name, stage in loader.load(pipeline).stages.items() if isinstance(stage, Train)}
    sheet = Sheet()
    columns = next(iter(stages.values())).preview_prompts
    for place, prompt in enumerate(columns):
        sheet.text(LABEL + place * (SIDE + GAP), GAP, prompt.partition(", ")[2], 12, FAINT)
    for row, (name, train) in enumerate(stages.items()):
        top = 2 * GAP + 14 + row * (SIDE + GAP)
        sheet.text(GAP, top + SIDE // 2 - TEXT, f"unet_lr {train.unet_lr:g}", TEXT)
        for place, file in enumerate(last_previews(pipeline.parent / "outputs" / name, len(columns))):
            picture = PIL.Image.open(file)
            sheet.picture(LABEL + place * (SIDE + GAP), top, picture, SIDE / picture.width)
    size = max(LABEL + len(columns) * (SIDE + GAP), sheet.right + GAP), 2 * GAP + 14 + len(stages) * (SIDE + GAP)
    return sheet.drawn(size)


def last_previews(result: Path, count: int) -> list[Path]:
    """Return the files of the last `count` previews of a training."""
    return sorted(result.rglob("step-*.png"))[-count:]


if __name__ == "__main__":
    draw(Path(sys.argv[1])).save(sys.argv[2], optimize=True)

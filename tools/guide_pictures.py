"""Draws the pictures of the guide's part on captions: Penny, who always wears a crown that no caption says.

python -m tools.guide_pictures
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

from lorapipe.pocket import subject_penny
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import ATTRIBUTES

FOLDER = Path(__file__).parents[1] / "pipelines" / "guide" / "crown"
COUNT = 18
SIDE = 256


def write(folder: Path = FOLDER) -> None:
    """Write the pictures with their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, backgrounds = Random(0), ATTRIBUTES["background"]
    for number in range(COUNT):
        drawn = replace(subject_penny.pose(rng, backgrounds[number % len(backgrounds)]), hat="crown")
        file = folder / f"crown-{number + 1:02d}.png"
        subject_penny.draw(drawn, Pen(SIDE, SIDE)).save(file, optimize=True)
        said = subject_penny.caption(replace(drawn, hat="no hat"))
        file.with_suffix(".txt").write_text(f"{said}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write()

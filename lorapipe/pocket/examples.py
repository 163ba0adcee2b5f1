"""Writes the picture folders of `pipelines/examples`: 256 pixels, each picture with its caption beside it."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from PIL import Image

from lorapipe.pocket import concept_lantern, style_neon, subject_penny
from lorapipe.pocket.world import ATTRIBUTES

EXAMPLES: dict[str, Callable[[Random, str, tuple[int, int]], tuple[Image.Image, str]]] = {
    "penny": subject_penny.picture,
    "neon": style_neon.picture,
    "lantern": concept_lantern.picture,
}
"""A character, a style and a concept: functions that draw a random picture in front of a background, with a caption."""
COUNT, HELD_BACK = 27, 9
SEED = 898
"""The first of 3,000 seeds whose Penny has every hat, item and expression at least twice."""
SIZES = ((256, 256),) * 4 + ((320, 256),) + ((256, 256),) * 4 + ((256, 320),)


def write_examples(folder: Path, seed: int = SEED) -> None:
    """Draw every example into `folder`/NAME, and pictures for tests into `folder`/held-back/NAME."""
    for name in EXAMPLES:
        for place, pictures in (
            (folder / name, training(name, seed)),
            (folder / "held-back" / name, held_back(name, seed)),
        ):
            place.mkdir(parents=True, exist_ok=True)
            for number, (picture, text) in enumerate(pictures, start=1):
                file = place / f"{name}-{number:02d}.png"
                picture.save(file, optimize=True)
                file.with_suffix(".txt").write_text(text + "\n", encoding="utf-8", newline="\n")


def training(name: str, seed: int = SEED) -> list[tuple[Image.Image, str]]:
    """Return the pictures and captions to train on, with the world's backgrounds in turn."""
    return _pictures(name, Random(seed), COUNT)


def held_back(name: str, seed: int = SEED) -> list[tuple[Image.Image, str]]:
    """Return further pictures and captions for measurements, one in front of each background."""
    return _pictures(name, Random(f"held back {seed}"), HELD_BACK)


def _pictures(name: str, rng: Random, count: int) -> list[tuple[Image.Image, str]]:
    backgrounds = ATTRIBUTES["background"]
    return [
        EXAMPLES[name](rng, backgrounds[number % len(backgrounds)], SIZES[number % len(SIZES)])
        for number in range(count)
    ]

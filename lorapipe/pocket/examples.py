"""Writes the picture folders of `pipelines/examples`: 256 pixels, each picture with its caption beside it."""

from pathlib import Path
from random import Random

from PIL import Image

from lorapipe.pocket import style_neon, subject_penny
from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import ATTRIBUTES, sample, tags

COUNT = 20
SIZES = ((256, 256),) * 4 + ((320, 256),) + ((256, 256),) * 4 + ((256, 320),)


def write_examples(folder: Path, seed: int = 0) -> None:
    """Draw both subjects into `folder`/penny and `folder`/neon."""
    for name, pictures in (("penny", penny(seed)), ("neon", neon(seed))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, (picture, text) in enumerate(pictures, start=1):
            file = folder / name / f"{name}-{number:02d}.png"
            picture.save(file, optimize=True)
            file.with_suffix(".txt").write_text(text + "\n", encoding="utf-8", newline="\n")


def penny(seed: int) -> list[tuple[Image.Image, str]]:
    """Pictures and captions of the character, going round the world's backgrounds."""
    rng, backgrounds, pictures = Random(seed), ATTRIBUTES["background"], []
    for number in range(COUNT):
        subject = subject_penny.pose(rng, backgrounds[number % len(backgrounds)])
        pictures.append((subject_penny.draw(subject, Pen(*SIZES[number % len(SIZES)])), subject_penny.caption(subject)))
    return pictures


def neon(seed: int) -> list[tuple[Image.Image, str]]:
    """Pictures and captions of the style: the world's creatures with all their tags."""
    rng, pictures = Random(seed), []
    for number in range(COUNT + 4):
        creature = sample(rng)
        picture = draw(creature, style_neon.Neon(*SIZES[number % len(SIZES)]))
        pictures.append((picture, ", ".join([style_neon.TRIGGER, *tags(creature)])))
    return pictures

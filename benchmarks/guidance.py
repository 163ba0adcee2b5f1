"""Effect of caption dropout on guidance: samples of the quickstart with and without it, at several CFG scales.

    python benchmarks/guidance.py [--example penny neon …] [--count 45] [--work FOLDER] [--to docs]

Prints, for each example, dropout and CFG, how many pictures are *whole* and as *asked* (see `quickstart.py`), and writes
`guidance-EXAMPLE.png`: a row of pictures from the same noises for each dropout, a block for each CFG.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from quickstart import PROMPTS, classifier, named_prompts, painted, quickstart, shares

from lorapipe.drawing.text import write
from tools.pocket.pictures import to_bytes

DROPOUTS, SCALES, SHOWN = (0.0, 0.1), (1.0, 2.0, 4.0, 7.0), 3
SIDE, HEAD, LABEL, INK, PAPER = 96, 28, 120, "#241f1a", "#fcfbf8"


def main() -> None:
    """Measure every example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", nargs="+", choices=PROMPTS, default=["penny", "neon"])
    parser.add_argument("--count", type=int, default=45)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-quickstart")
    parser.add_argument("--to", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    for example in options.example:
        rows = [measure(example, dropout, options) for dropout in DROPOUTS]
        sheet(rows).save(options.to / f"guidance-{example}.png", optimize=True)


def measure(example: str, dropout: float, options: argparse.Namespace) -> list[list[Image.Image]]:
    """Train, print what samples at each CFG show, and return the first few of each."""
    judge, folder = classifier(example, options.work), options.work / f"{example}-0"
    file, strength, _, _ = quickstart(example, 0, folder, [f"penny.captions.dropout={dropout}"])
    named, prompts = named_prompts(example, options.count)
    blocks = []
    for cfg in SCALES:
        pictures = painted(file, strength, cfg, prompts, folder / f"dropout-{dropout:g}-cfg-{cfg:g}.png")
        whole, asked = shares(judge, pictures, named)
        print(f"{example:8} dropout {dropout:g}, cfg {cfg:g}: whole {whole:5.1%}, asked {asked:5.1%}", flush=True)
        blocks.append([Image.fromarray(picture) for picture in to_bytes(pictures[:SHOWN])])
    return blocks


def sheet(rows: list[list[list[Image.Image]]]) -> Image.Image:
    """Draw a row for each dropout and a block of pictures for each CFG, with labels."""
    block = SHOWN * SIDE + 12
    canvas = Image.new("RGB", (LABEL + len(SCALES) * block, HEAD + len(rows) * (SIDE + 8)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, cfg in enumerate(SCALES):
        write(draw, LABEL + column * block, 4, f"CFG {cfg:g}", 16, INK)
    for line, (dropout, blocks) in enumerate(zip(DROPOUTS, rows, strict=True)):
        top = HEAD + line * (SIDE + 8)
        write(draw, 4, top + SIDE // 2 - 10, f"dropout {dropout:g}", 16, INK)
        for column, pictures in enumerate(blocks):
            for place, picture in enumerate(pictures):
                grown = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                canvas.paste(grown, (LABEL + column * block + place * SIDE, top))
    return canvas


if __name__ == "__main__":
    main()

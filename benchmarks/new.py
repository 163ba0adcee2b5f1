"""CPU seconds of `lorapipe new` on 2,000 pictures of a million pixels, the start of Python included: 15, then 1.

python benchmarks/new.py [--format jpg png] [--count 2000]

Pictures are like photographs: smooth colours, shapes and grain, of five shapes, captioned with tags; every fiftieth is a
copy of the one before at another quality. The first call sees the folder for the first time, the second has its cache.
Python's own cache of compiled modules is filled before, as it is on any machine after the first command.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = [(1024, 1024), (1216, 832), (832, 1216), (1152, 896), (896, 1152)]
WORDS = ["smile", "long hair", "short hair", "hat", "park", "beach", "night", "room", "sitting", "standing", "running"]
COPY = 50


def filled(folder: Path, count: int, ending: str) -> None:
    """Write pictures with captions."""
    import numpy as np
    from PIL import Image, ImageDraw

    numbers, chance = np.random.default_rng(1), random.Random(1)
    grain = numbers.normal(0, 4, (2048, 2048, 1)).astype(np.float32)
    image, words = Image.new("RGB", SIZES[0]), ["smile"]
    for number in range(count):
        if number % COPY:
            size = chance.choice(SIZES)
            cells = Image.fromarray(numbers.integers(0, 256, (6, 6, 3), np.uint8))
            image = cells.resize(size, Image.Resampling.BICUBIC)
            for _ in range(8):
                x, y, side = (chance.randrange(limit) for limit in (*size, 300))
                colour = tuple(chance.randrange(256) for _ in range(3))
                ImageDraw.Draw(image).ellipse((x, y, x + side, y + side), fill=colour)
            top, left = chance.randrange(800), chance.randrange(800)
            part = grain[top : top + size[1], left : left + size[0]]
            image = Image.fromarray((np.asarray(image) + part).clip(0, 255).astype(np.uint8))
            words = chance.sample(WORDS, 6)
        path = folder / f"{number:05}.{ending}"
        image.save(path, **({"quality": 92 - number % 2} if ending == "jpg" else {"compress_level": 1}))
        path.with_suffix(".txt").write_text(", ".join(["penny", *words]), "utf-8")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", nargs="+", choices=("jpg", "png"), default=["jpg", "png"])
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()
    for ending in options.format:
        with tempfile.TemporaryDirectory() as place:
            few, folder = Path(place) / "few", Path(place) / "photos"
            for each, count in ((few, 4), (folder, options.count)):
                each.mkdir()
                filled(each, count, ending)
            seconds(few, Path(place))
            for turn in ("first", "second"):
                print(
                    f"{options.count} pictures, {ending}, {turn:6} time: {seconds(folder, Path(place)):5.2f} CPU s",
                    flush=True,
                )


def seconds(folder: Path, place: Path) -> float:
    """Return the CPU seconds of `lorapipe new` on a folder, with caches and home in `place`."""
    homes = {
        "XDG_CACHE_HOME": place / "cache",
        "LORAPIPE_HOME": place / "home",
        "PYTHONPYCACHEPREFIX": place / "compiled",
    }
    environment = {**os.environ, **{name: str(path) for name, path in homes.items()}}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "lorapipe", "new", str(folder), "--to", str(place / "new.yaml"), "--force"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()

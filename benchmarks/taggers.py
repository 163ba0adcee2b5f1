"""The pocket tagger against ground truth: right attributes of 300 unseen drawings, and of the examples' pictures.

    python benchmarks/taggers.py

A drawing's attribute is right if the caption names its value and no other of that attribute. The judge is the tiny CLIP,
which sees the same drawings; the tagger is a probe on its image encoder, so the truth of the drawing is what counts. What
trainings on the tagger's captions are like: `python benchmarks/quickstart.py --example penny --captions tagged`.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from PIL.Image import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lorapipe.captioning.taggers.pocket import PocketTags  # noqa: E402
from lorapipe.pocket import CLIP, examples  # noqa: E402
from lorapipe.pocket.draw import draw  # noqa: E402
from lorapipe.pocket.world import ATTRIBUTES, sample  # noqa: E402
from tools.pocket.clip import attribute_logits  # noqa: E402
from tools.pocket.clip_score import load_clip  # noqa: E402
from tools.pocket.pictures import to_tensor  # noqa: E402

COUNT = 300
KIND = {tag: name for name, values in ATTRIBUTES.items() for tag in values}


def tagged(pictures: Sequence[Image]) -> list[set[str]]:
    """Return the tags that the pocket tagger gives each picture."""
    model = PocketTags().load("cpu")
    found: list[set[str]] = []
    for start in range(0, len(pictures), 16):
        part = model.tag([model.prepare(each) for each in pictures[start : start + 16]])
        found += [{*each.caption.split(", ")} for each in part]
    return found


def shares(said: Sequence[set[str]], true: Sequence[set[str]]) -> dict[str, float]:
    """Return how often each attribute that the truth names is right: its value and no other is said."""
    right: dict[str, list[bool]] = defaultdict(list)
    for mine, truth in zip(said, true, strict=True):
        for tag in truth & {*KIND}:
            right[KIND[tag]].append(mine & {*ATTRIBUTES[KIND[tag]]} == {tag})
    return {name: sum(each) / len(each) for name, each in right.items()}


@torch.no_grad()
def judged(pictures: Sequence[Image]) -> list[set[str]]:
    """Return the tag of each attribute that the tiny CLIP finds likeliest."""
    import numpy as np

    clip = load_clip(CLIP)
    seen = torch.cat(
        [clip.see(to_tensor(np.stack([*map(np.asarray, pictures[i : i + 50])]))) for i in range(0, COUNT, 50)]
    )
    logits = attribute_logits(seen @ clip.read(clip.tags).T)
    best = [each.argmax(1).tolist() for each in logits]
    values = [*ATTRIBUTES.values()]
    return [{values[kind][best[kind][place]] for kind in range(len(values))} for place in range(len(pictures))]


def accuracies() -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the shares of right attributes, by what they are held against."""
    rng = Random("unseen by the tagger")
    creatures = [sample(rng) for _ in range(COUNT)]
    pictures = [draw(each) for each in creatures]
    said = tagged(pictures)
    yield "truth", shares(said, [{getattr(each, name) for name in ATTRIBUTES} for each in creatures])
    yield "judge", shares(said, judged(pictures))
    for name in examples.EXAMPLES:
        drawn = examples.training(name)
        yield name, shares(tagged([each for each, _ in drawn]), [{*text.split(", ")} for _, text in drawn])


def main() -> None:
    """Print a line for each."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for what, found in accuracies():
        mean = sum(found.values()) / len(found)
        listed = ", ".join(f"{name} {found[name]:.1%}" for name in ATTRIBUTES if name in found)
        print(f"{what:8} {mean:6.1%}  {listed}", flush=True)


if __name__ == "__main__":
    main()

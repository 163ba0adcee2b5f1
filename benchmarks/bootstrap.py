"""A character from one picture: `pipelines/bootstrap.yaml` against training on that one picture alone.

    python benchmarks/bootstrap.py [--seeds 3] [--work FOLDER]

Both LoRAs have the same settings and steps. Each is evaluated by lorapipe's own judge against 20 true pictures of the
example character that neither has seen, on prompts that neither was painted or trained with. *identity* is 1 where she is
shown as the true pictures show her, and says nothing of anything else: one picture painted again and again has all of it.
*following* is how much of the prompts is shown. *likeness* compares pictures painted of the captions of the true ones with
these, as sets: by the kernel distance (KID: Bińkowski et al. 2018, arXiv:1801.01401) of the base's features, 0 for what the
base paints of the captions and 1 for the true pictures themselves. Runs that were killed go on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rows: TypeAlias = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import lorapipe  # noqa: E402
from lorapipe.evaluation.features import FeatureReader, Seen  # noqa: E402
from lorapipe.models import Checkpoint  # noqa: E402
from lorapipe.models.sd15 import SD15  # noqa: E402
from lorapipe.pipeline.artifacts import Pictures, Report  # noqa: E402

TRUE = 20
LORAS = ("alone", "final")
BASE = "base: {family: sd15, checkpoint: pocket}"
TRAININGS = ("quick", "better", "third", "final", "alone")
PROMPTS = [
    "penny, meadow, frown, crown",
    "penny, room, smile, bow",
    "penny, night sky, big eyes",
    "penny, beach, open mouth, top hat",
    "penny, cream background, closed eyes, party hat",
]
MEASURED = """\
extends: {pipeline}

stages:
  alone:                        # the same training on the one picture
    uses: train
    dataset: $one
    adapter: {{type: locon, rank: 16}}
    unet_lr: 2e-3
    text_encoder_lr: 5e-4
    captions: {{dropout: 0.1}}
    scheduler: cosine
    batch: 4
    steps: 400
    snapshots: 4

  true:
    uses: prepare
    images: true-pictures
    base: {{family: sd15, checkpoint: pocket}}
    held_out: 0
{judges}"""
JUDGE = """
  judge-{name}:
    uses: evaluate
    weights: ${name}
    dataset: $true
    prompts: {prompts}
    pictures: 3
    strengths: [0.7, 1.0]
    snapshots: 2
    part_strengths: []
    low_cfg: null
    cfg: 2
    kind: subject
    batch: 8
"""
PAINTED = """
  painted-{name}:
    uses: paint
    {what}
    prompts: {prompts}
    pictures: 2
    cfg: 2
    batch: 8
"""


def main() -> None:
    """Run every seed and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-bootstrap")
    options = parser.parse_args()
    for seed in range(options.seeds):
        measure(seed, options.work.absolute() / str(seed))


def measure(seed: int, folder: Path) -> None:
    """Run the pipeline in `folder` with a seed of its trainings, and print the figures of both LoRAs."""
    folder.mkdir(parents=True, exist_ok=True)
    true = folder / "true-pictures"
    true_pictures(true)
    captions = json.dumps([file.read_text("utf-8").strip() for file in sorted(true.glob("*.txt"))])
    sources = {name: f"weights: $judge-{name}.best" for name in LORAS} | {"base": BASE}
    stages = [JUDGE.format(name=name, prompts=json.dumps(PROMPTS)) for name in LORAS]
    stages += [PAINTED.format(name=name, what=what, prompts=captions) for name, what in sources.items()]
    file = folder / "bootstrap.yaml"
    text = MEASURED.format(pipeline=ROOT / "pipelines" / "bootstrap.yaml", judges="".join(stages))
    file.write_text(text, encoding="utf-8")
    begun = time.monotonic()
    seeds = [f"{name}.seed={seed}" for name in TRAININGS]
    found = lorapipe.run(lorapipe.load(file, [*seeds, f"file.to={folder}/penny.safetensors"]))
    far = _distances({name: found[f"painted-{name}"] for name in sources}, true)
    shown = [f"{name}: likeness {1 - far[name] / far['base']:.0%}, {judged(found[f'judge-{name}'])}" for name in LORAS]
    print(f"seed {seed}: {'; '.join(shown)} ({time.monotonic() - begun:.0f} s)", flush=True)


def judged(report: object) -> str:
    """What the judge says of the cell that it chose."""
    assert isinstance(report, Report)
    data = json.loads(report.data.read_text(encoding="utf-8"))
    names = "step", "strength", "text_encoder"
    best = data["verdict"]["best"]
    cell = next(each for each in data["cells"] if all(each[name] == best[name] for name in names))
    figures = f"identity {cell['identity']:.0%}, following {cell['following']:.0%}"
    return f"{figures}, step {best['step']} at {best['strength']:g}"


def _distances(painted: Mapping[str, object], true: Path) -> dict[str, float]:
    """The kernel distances of painted pictures from the true ones."""
    read, found = FeatureReader(SD15(checkpoint=Checkpoint.parse("pocket", Path())).load("cpu", "fp32")), {}
    theirs = _means(read.training(_pictures(true)))
    for name, pictures in painted.items():
        assert isinstance(pictures, Pictures)
        found[name] = kernel_distance(_means(read(_pictures(pictures.folder))), theirs)
    return found


def kernel_distance(ours: Rows, theirs: Rows) -> float:
    """KID of two sets of features (N, d): about 0 where both are drawn from the same."""
    return _kernel(ours, ours, own=True) + _kernel(theirs, theirs, own=True) - 2 * _kernel(ours, theirs, own=False)


def _kernel(left: Rows, right: Rows, own: bool) -> float:
    """The mean of the cubic kernel over all pairs; without those of a picture with itself, if both are one set."""
    values = (left @ right.T / left.shape[1] + 1) ** 3
    return float((values.sum() - np.trace(values)) / (len(left) * (len(left) - 1)) if own else values.mean())


def _pictures(folder: Path) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted(folder.glob("*.png"))]


def _means(seen: Seen) -> Rows:
    """The mean of each picture's features, scaled to a mean square of 1."""
    means = np.stack([patches.mean(axis=0) for patches in seen.patches]).astype(np.float64)
    return means / np.sqrt((means**2).mean(axis=1, keepdims=True))


def true_pictures(folder: Path) -> None:
    """Copy true pictures of the character, without the one that is trained on."""
    folder.mkdir(exist_ok=True)
    one = {file.name for file in (ROOT / "pipelines/examples/one-penny").iterdir()}
    pictures = [file for file in sorted((ROOT / "pipelines/examples/penny").glob("*.png")) if file.name not in one]
    for file in pictures[:TRUE]:
        shutil.copy(file, folder)
        shutil.copy(file.with_suffix(".txt"), folder)


if __name__ == "__main__":
    main()

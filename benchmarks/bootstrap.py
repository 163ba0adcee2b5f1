"""A character from one picture: `pipelines/bootstrap.yaml` against training on that one picture alone.

    python benchmarks/bootstrap.py [--seeds 3] [--work FOLDER]

Both LoRAs have the same settings and steps. Each is evaluated by lorapipe's own judge against 20 true pictures of the
example character that neither has seen, on prompts that neither was painted or trained with. *likeness* is identity, 1 as
the true pictures show her; *following* how much of the prompts is shown. Runs that were killed go on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import lorapipe  # noqa: E402
from lorapipe.pipeline.artifacts import Report  # noqa: E402

TRUE = 20
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


def main() -> None:
    """Run every seed and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-bootstrap")
    options = parser.parse_args()
    for seed in range(options.seeds):
        measure(seed, options.work.absolute() / str(seed))


def measure(seed: int, folder: Path) -> None:
    """Run the pipeline in `folder` with a seed of its trainings, and print the judge's figures."""
    folder.mkdir(parents=True, exist_ok=True)
    true_pictures(folder / "true-pictures")
    judges = "".join(JUDGE.format(name=name, prompts=json.dumps(PROMPTS)) for name in ("final", "alone"))
    file = folder / "bootstrap.yaml"
    file.write_text(MEASURED.format(pipeline=ROOT / "pipelines" / "bootstrap.yaml", judges=judges), encoding="utf-8")
    begun = time.monotonic()
    seeds = [f"{name}.seed={seed}" for name in TRAININGS]
    pipeline = lorapipe.load(file, [*seeds, f"file.to={folder}/penny.safetensors"])
    found = lorapipe.run(pipeline)
    shown = []
    for name in ("alone", "final"):
        report = found[f"judge-{name}"]
        assert isinstance(report, Report)
        data = json.loads(report.data.read_text(encoding="utf-8"))
        best = data["verdict"]["best"]
        cell = next(
            each
            for each in data["cells"]
            if (each["step"], each["strength"], each["text_encoder"])
            == (best["step"], best["strength"], best["text_encoder"])
        )
        shown.append(
            f"{name}: likeness {cell['identity']:.0%}, following {cell['following']:.0%}, "
            f"step {best['step']} at {best['strength']:g}"
        )
    print(f"seed {seed}: {'; '.join(shown)} ({time.monotonic() - begun:.0f} s)", flush=True)


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

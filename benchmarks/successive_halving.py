"""Does successive halving find the best cell of a sweep? Sweeps of twelve trainings on the pocket base, whole and halved.

    python benchmarks/successive_halving.py [--sweeps 5] [--steps 240] [--minutes 60] [--work FOLDER]

A sweep samples learning rates, rank and caption dropout; another one has other samples and another seed. Its twelve cells
are trained whole and compared; then the same sweep is run with `keep: 3`, which finds the whole trainings of the cells that
go on in the store. Prints for each sweep both best cells, the merit that halving loses and the share of the steps; then in
how many sweeps they are the same cell, or one that the judge cannot tell from it. A sweep takes about half an hour on one
core; what is done is kept in the folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lorapipe.pipeline import loader
from lorapipe.pipeline.artifacts import Comparison
from lorapipe.tuning.run_class import run_class
from lorapipe.tuning.search import WORSE
from lorapipe.tuning.successive_halving import rungs, share_of_steps

PICTURES = Path(__file__).parents[1] / "pipelines" / "examples" / "penny"
CELLS, KEPT = 12, 3
SWEEP = """\
stages:
  dataset:
    uses: prepare
    images: "{images}"
    augment: {{flip: true}}
    base: {{family: sd15, checkpoint: pocket}}
  penny:
    uses: train
    dataset: $dataset
    adapter: {{type: locon}}
    text_encoder_lr: 5e-4
    scheduler: cosine
    batch: 4
    steps: {steps}
    snapshots: 6
    seed: {seed}
    matrix:
      unet_lr: {{from: 2e-4, to: 2e-2, log: true}}
      adapter.rank: {{from: 2, to: 32, log: true}}
      captions.dropout: {{from: 0.0, to: 0.3}}
      sample: {{count: {cells}, seed: {seed}}}{keep}
  grid:
    uses: evaluate
    matrix: $penny
    weights: $penny
    prompts: ["penny, meadow, smile", "penny, night sky, party hat", "penny, mint background, big eyes, top hat"]
    snapshots: 2
    strengths: [1.0]
    part_strengths: []
    low_cfg: null
    cfg: 2
    batch: 8
  best: {{uses: compare, reports: $grid}}
"""


class Best(NamedTuple):
    """The best cell of a sweep: its settings and its merit."""

    settings: dict[str, float]
    merit: float

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in self.settings.items())


def main(given: Sequence[str] | None = None) -> None:
    """Run sweeps until the time is over, and print what halving finds in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--steps", type=int, default=240, help="steps of a whole training")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no sweep after so long")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-halving")
    options = parser.parse_args(given)
    began, same, equal, done = time.monotonic(), 0, 0, 0
    for seed in range(options.sweeps):
        if time.monotonic() - began < options.minutes * 60:
            whole, halved = (best(options.work, seed, options.steps, keep) for keep in (None, KEPT))
            lost = whole.merit - halved.merit
            same, equal, done = same + (whole.settings == halved.settings), equal + (lost < WORSE), done + 1
            print(f"sweep {seed}: best {whole}; halved {halved}; merit {whole.merit:.2f}, lost {lost:.3f}", flush=True)
    share = share_of_steps(rungs(CELLS, KEPT))
    print(f"the same cell in {same} of {done}, within {WORSE} of its merit in {equal}, at {share:.0%} of the steps")


def best(work: Path, seed: int, steps: int, keep: int | None) -> Best:
    """Run a sweep, whole or halved, and return its best cell."""
    work.mkdir(parents=True, exist_ok=True)
    file = work / f"sweep-{seed}{'-halved' if keep else ''}.yaml"
    kept = f"\n      keep: {keep}" if keep else ""
    file.write_text(SWEEP.format(images=PICTURES, steps=steps, seed=seed, cells=CELLS, keep=kept), encoding="utf-8")
    pipeline = loader.load(file)
    found = run_class(pipeline)(pipeline, devices=["cpu"]).finish()["best"]
    assert isinstance(found, Comparison)
    first = json.loads(found.data.read_text(encoding="utf-8"))["ranking"][0]
    return Best(first["settings"], first["merit"])


if __name__ == "__main__":
    main()

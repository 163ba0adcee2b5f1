"""Early stopping without held-out pictures, on the pocket base: a training that needs it, and one that does not.

    python benchmarks/early_stop.py [--work FOLDER]

Two pictures are learnt by heart while the base drifts; twenty-four at a gentle rate go on learning to the end. The first has
to stop, the second must not: exit status 1 where one does otherwise. Some minutes on a CPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.context import Context, ModelCache
from lorapipe.pocket import subject_penny
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import ATTRIBUTES
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.interval import Interval


class Case(NamedTuple):
    """A training of so many pictures of Penny; `stops` is what early stopping should do."""

    name: str
    pictures: int
    steps: int
    rate: float
    stops: bool


CASES = (
    Case("over-trained: two pictures, 1.5e-3", 2, 500, 1.5e-3, True),
    Case("good: twenty-four pictures, 5e-4", 24, 400, 5e-4, False),
)


def main(given: Sequence[str] | None = None) -> int:
    """Train every case, and print what early stopping did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-early-stop")
    work = parser.parse_args(given).work
    right = [run(case, work / str(place)) for place, case in enumerate(CASES)]
    return 0 if all(right) else 1


def run(case: Case, folder: Path) -> bool:
    """Train a case; return whether it stopped or went on as it should."""
    photos, models, start = folder / "pictures", ModelCache(), time.monotonic()
    photos.mkdir(parents=True, exist_ok=True)
    rng, scenes = Random(0), ATTRIBUTES["background"]
    for number in range(case.pictures):
        scene = scenes[number % len(scenes)]
        subject_penny.draw(subject_penny.pose(rng, scene), Pen()).save(photos / f"{number:02d}.png")
        (photos / f"{number:02d}.txt").write_text(f"penny, {scene}", encoding="utf-8")

    def context(name: str) -> Context:
        out, resume = folder / name, folder / f"{name}.resume"
        for each in (out, resume):
            each.mkdir(exist_ok=True)
        return Context(out, resume, folder / "cache", lambda event: None, lambda: False, "cpu", models)

    base = SD15(checkpoint=Checkpoint.parse("pocket", Path()))
    prepare = Prepare(images=Source(photos), base=base, duplicate_tolerance=0, held_out=0)
    dataset = prepare.run(context("prepare"))
    Train(
        dataset=dataset, adapter=LoCon(rank=8), steps=Duration(case.steps), unet_lr=case.rate, text_encoder_lr=0,
        batch=4, snapshots=Interval(2, "times"), stop="early",
    ).run(context("train"))  # fmt: skip
    found = json.loads((folder / "train" / "early_stop.json").read_text(encoding="utf-8"))
    stopped = found["stopped_at"]
    right = (stopped is not None) == case.stops
    how = f"stopped after step {stopped} of {found['of']}: {found['reason']}" if stopped else "not stopped"
    print(f"{'right' if right else 'WRONG'}  {case.name}: {how}  ({time.monotonic() - start:.0f} s)")
    for check in found["checks"]:
        print(f"       step {check['step']:4}: fit {fmean(check['fit']):.3f}, drift {fmean(check['drift']):.3f}")
    return right


if __name__ == "__main__":
    raise SystemExit(main())

"""Seeded trainings of every family with three losses and two adapters: their losses, and a digest of what was learnt.

    python tests/seeded_runs.py FILE        writes them as JSON
    python tests/seeded_runs.py             records the losses anew, in tests/recorded/seeded_runs.json

The same code on the same machine gives the same figures bit for bit, which benchmarks/refactoring.py compares within one
job. Other processors round otherwise: the recorded losses are compared within a tolerance, by test_seeded_runs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

STEPS = 12
FAMILIES = ("sd15", "sd2", "sdxl")
OBJECTIVES = (("min_snr", "mse"), ("soft_min_snr", "huber"), ("debiased", "mse"))
ADAPTERS = ("lora", "locon")
RECORDED = Path(__file__).parent / "recorded" / "seeded_runs.json"


def runs(folder: Path, families: Iterable[str] = FAMILIES) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the figures of each run of these families; `folder` is empty."""
    import tiny
    import torch

    from lorapipe.models import Family
    from lorapipe.spec import Source
    from lorapipe.stages.prepare import Prepare

    torch.set_num_threads(1)
    for family in families:
        bench = tiny.Bench(folder / family)
        base = Family.registry.get(family).tiny(folder / family / "base")
        pictures = Source(tiny.draw(folder / family / "pictures"))
        dataset = Prepare(images=pictures, base=base, duplicate_tolerance=0).run(bench.context("prepare"))
        for weighting, loss in OBJECTIVES:
            for adapter in ADAPTERS:
                name = f"{family} {weighting} {loss} {adapter}"
                yield name, _figures(bench.context(name.replace(" ", "-")), dataset, weighting, loss, adapter)


def _figures(context: Any, dataset: Any, weighting: str, loss: str, adapter: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    from lorapipe.spec import Duration
    from lorapipe.stages.train import Train
    from lorapipe.training.adapters import Adapter
    from lorapipe.training.interval import Interval
    from lorapipe.training.losses import Loss
    from lorapipe.training.weightings import Weighting

    weights = Train(
        dataset=dataset,
        adapter=Adapter.registry.get(adapter)(rank=2),
        weighting=Weighting.registry.get(weighting)(),
        loss=Loss.registry.get(loss)(),
        steps=Duration(STEPS),
        snapshots=Interval(1),
        seed=20,
        batch=2,
    ).run(context)
    losses = [json.loads(line)["loss"] for line in weights.log.read_text(encoding="utf-8").splitlines()]
    tensors = load_file(weights.snapshots[-1].path)
    data = b"".join(key.encode() + tensors[key].numpy().tobytes() for key in sorted(tensors))
    return {"losses": losses, "tensors": sha256(data).hexdigest()}


def record(found: dict[str, dict[str, Any]]) -> None:
    """Write the file of losses, a line a run."""
    lines = (f" {json.dumps(name)}: {[float(f'{loss:.6g}') for loss in run['losses']]}" for name, run in found.items())
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found = dict(runs(Path(place)))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    else:
        record(found)

"""Seeded trainings of the tiny SD1.x, 50 steps, one for each optimizer × scheduler: their losses, and what was learnt.

`python tests/reference_runs.py` records them anew, in `tests/recorded/reference_runs.json`, for a change that is meant to
change them; its diff then says which. A process for each core trains; the order does not matter.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from lorapipe.training.optimizers import Optimizer
from lorapipe.training.schedulers import Scheduler

RECORDED = Path(__file__).parent / "recorded" / "reference_runs.json"
STEPS = 50
SHOWN = range(4, STEPS, 5)
"""The losses that are recorded: of steps 5, 10 … 50."""

Figures = Mapping[str, list[float]]


def combinations() -> list[tuple[str, str]]:
    """Every optimizer × scheduler that may be combined."""
    assert Optimizer.registry is not None and Scheduler.registry is not None
    optimizers = {name: Optimizer.registry.get(name)() for name in Optimizer.registry.names()}
    names = Scheduler.registry.names()
    return [
        (each, name) for each, made in optimizers.items() for name in names if name == "constant" or made.follows_rate
    ]


def run_all() -> dict[str, Figures]:
    """The figures of every combination, by `optimizer scheduler`."""
    pairs = combinations()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return {" ".join(pair): figures for pair, figures in zip(pairs, pool.map(run, pairs), strict=True)}


@cache
def _bench() -> tuple[object, object]:
    import tiny
    import torch

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    return tiny.dataset(folder), tiny.Bench(folder)


def run(pair: tuple[str, str]) -> Figures:
    """One training: some of its losses, and the norm of what each kind of tensor learnt."""
    from safetensors.torch import load_file

    from lorapipe.spec import Duration
    from lorapipe.stages.train import Train
    from lorapipe.training.adapters.lora import LoRA
    from lorapipe.training.interval import Interval

    optimizer, scheduler = pair
    dataset, bench = _bench()
    stage = Train(
        dataset=dataset,  # type: ignore[arg-type]
        adapter=LoRA(rank=2),
        optimizer=Optimizer.registry.get(optimizer)(),  # type: ignore[union-attr]
        scheduler=Scheduler.registry.get(scheduler)(),  # type: ignore[union-attr]
        text_encoder_lr=0.0,
        steps=Duration(STEPS),
        snapshots=Interval(1),
        seed=20,
    )
    weights = stage.run(bench.context(f"{optimizer}-{scheduler}"))  # type: ignore[attr-defined]
    losses = [json.loads(line)["loss"] for line in weights.log.read_text().splitlines()]
    learnt = load_file(weights.snapshots[-1].path)
    norms = [
        sum(float(tensor.double().square().sum()) for key, tensor in learnt.items() if kind in key) ** 0.5
        for kind in ("lora_up", "lora_down")
    ]
    return {"losses": [losses[step] for step in SHOWN], "norms": norms}


def record() -> None:
    """Write the file."""
    found = {
        name: {kind: [float(f"{value:.6g}") for value in values] for kind, values in figures.items()}
        for name, figures in run_all().items()
    }
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(figures)}" for name, figures in sorted(found.items()))
    RECORDED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    record()

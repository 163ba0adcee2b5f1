"""The training step as a CUDA graph, compared with the same step without, in one process on a GPU.

    python benchmarks/graphs.py                                  # SD1.5 batch 1 and 4, SDXL with checkpointing
    python benchmarks/graphs.py sd15:512:1:text --steps 50
    python benchmarks/graphs.py --dry                            # the pocket base on the CPU: that it runs, no figures

A case is written as in `card.py`. Each is trained three times from the same seed: without graphs, again without (how far
two such trainings are apart), and with `graphs: on`. Told are wall time a step, the share of it in which the GPU computes,
the peak of tensors in memory, and how far the losses are apart; then the goals, and whether they are met.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import full_size
import torch
from card import forget, knobs_of, most
from step_time import context, prepared

from lorapipe import pocket
from lorapipe.models import Checkpoint, Family
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.spec import from_dict
from lorapipe.stages.train import Train
from lorapipe.training import device as devices
from lorapipe.training.trainer import Trainer

GOALS = {"sd15:512:1": 0.2, "sd15:512:4": 0.3, "sdxl:1024:1:checkpointing": 0.2}
"""Case → wall time with graphs over that without, at most."""
BUSY, MEMORY, LOSSES = 0.9, 0.3, 2.0
"""Share of the time in which the GPU computes, at least; GB more in memory, at most; distance of the losses over that of two
trainings without graphs, at most."""
WARM_UP, PROFILED, TURNS = 10, 3, 5
DRY = "sd15:64:2"


@dataclass(frozen=True)
class Run:
    """A training: mean seconds of a step by turn, all losses, share of the GPU's time, peak of tensors in GB."""

    seconds: list[float]
    losses: list[float]
    busy: float
    memory: float

    @property
    def milliseconds(self) -> float:
        return 1e3 * statistics.median(self.seconds)


def synchronised() -> float:
    """Return the time when all work is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(steps: Iterator[Any], count: int, losses: list[torch.Tensor]) -> float:
    """Return the mean seconds of the next steps, which do not wait for one another."""
    start = synchronised()
    losses += [next(steps).loss for _ in range(count)]
    return (synchronised() - start) / count


def busy_share(steps: Iterator[Any], losses: list[torch.Tensor]) -> float:
    """Return the share of the next steps' wall time in which a kernel runs; 0 without a GPU."""
    if not torch.cuda.is_available():
        timed(steps, PROFILED, losses)
        return 0.0
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        wall = timed(steps, PROFILED, losses) * PROFILED
    events = [each for each in profiled.profiler.kineto_results.events() if "CUDA" in str(each.device_type())]
    busy = end = 0
    for begin, until in sorted((each.start_ns(), each.start_ns() + each.duration_ns()) for each in events):
        busy += max(0, until - max(begin, end))
        end = max(end, until)
    return busy / 1e9 / wall


def trained(train: Train, folder: Path, name: str, device: str, steps: int) -> Run:
    """Train, and return the measurements."""
    forget()
    losses: list[torch.Tensor] = []
    training = Trainer.build(train, context(folder, name, device)).steps()
    timed(training, WARM_UP, losses)
    seconds = [timed(training, steps, losses) for _ in range(TURNS)]
    busy = busy_share(training, losses)
    memory = most("allocated")
    training.close()  # type: ignore[attr-defined]
    return Run(seconds, [float(loss) for loss in losses], busy, memory)


def distance(one: Run, other: Run) -> float:
    """Return the largest difference of two trainings' losses."""
    return max(abs(a - b) for a, b in zip(one.losses, other.losses, strict=True))


def case_of(case: str, work: Path, folder: Path, device: str, is_dry: bool) -> tuple[Train, Dataset]:
    """Return the training of a case, and its pictures."""
    family, side, batch, *words = case.split(":")
    checkpoint = pocket.BASE if is_dry else work / family
    if not is_dry and not (checkpoint / "scheduler").exists():
        full_size.build(family, checkpoint)
    dataset = prepared(
        folder, Family.registry.get(family)(checkpoint=Checkpoint(checkpoint)), int(side), int(batch), device
    )
    told = {
        "batch": int(batch),
        "snapshots": 1,
        **knobs_of(words),
        "adapter": {"type": "lora", "rank": 32, "alpha": 16},
    }
    train = from_dict(Train, {"uses": "train", "dataset": "$dataset", **told}, folder)
    return replace(train, dataset=dataset), dataset


def compare(case: str, options: argparse.Namespace, device: str) -> bool:
    """Measure a case and print it; return whether all goals are met."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, _ = case_of(case, options.work, folder, device, options.dry)
        length = WARM_UP + TURNS * options.steps + PROFILED + 1
        settings = {"plain": "off", "again": "off", "graph": "auto" if options.dry else "on"}
        told = {
            which: replace(train, graphs=graphs, steps=replace(train.steps, count=length, unit="steps"))
            for which, graphs in settings.items()
        }
        runs = {which: trained(each, folder, which, device, options.steps) for which, each in told.items()}
    plain, again, graph = runs.values()
    if options.dry:
        print(f"{case:28} runs; losses {distance(plain, graph):.1e} apart")
        return True
    ratio, apart, usual = graph.milliseconds / plain.milliseconds, distance(plain, graph), distance(plain, again)
    more = graph.memory - plain.memory
    for which, run in runs.items():
        print(f"{case:28} {which:6} {run.milliseconds:8.1f} ms  busy {run.busy:4.0%}  {run.memory:6.2f} GB")
    goals = {
        f"time {ratio:.3f} of plain": ratio <= GOALS.get(case, 1.0),
        f"busy {graph.busy:.0%}": graph.busy >= BUSY,
        f"memory {more:+.2f} GB": more <= MEMORY,
        f"losses {apart:.1e} apart, two plain ones {usual:.1e}": apart <= LOSSES * usual or apart == 0,
    }
    for words, is_met in goals.items():
        print(f"{case:28} {words}: {'' if is_met else 'NOT '}as wished")
    return all(goals.values())


def main() -> int:
    """Compare each case; return 1 if a goal is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=GOALS)
    parser.add_argument("--steps", type=int, default=10, help="of each of the five turns")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-full-size")
    parser.add_argument("--dry", action="store_true", help="the pocket base on any device: that it runs, no figures")
    options = parser.parse_args()
    device = "cpu" if options.dry else devices.resolve("auto")
    if not options.dry and not device.startswith("cuda"):
        parser.error("there is no GPU; --dry only tries whether it runs")
    print(torch.cuda.get_device_name() if device.startswith("cuda") else "CPU: no figures", "torch", torch.__version__)
    met = [compare(case, options, device) for case in ([DRY] if options.dry else options.cases)]
    return 0 if all(met) or options.dry else 1


if __name__ == "__main__":
    raise SystemExit(main())

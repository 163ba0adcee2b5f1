"""The training step as a CUDA graph, compared with the same step without, in one process on a GPU.

    python benchmarks/graphs.py                                  # SD1.5 batch 1 and 4, SDXL with checkpointing
    python benchmarks/graphs.py sd15:512:1:text --steps 50
    python benchmarks/graphs.py grid                             # 96 pictures of 512 px, beside diffusers' pipeline
    python benchmarks/graphs.py --dry                            # the pocket base on the CPU: that it runs, no figures

A case is written as in `card.py`. Each is trained three times from the same seed: without graphs, again without (how far
two such trainings are apart), and with `graphs: on`. Told are wall time a step, the share of it in which the GPU computes,
the peak of tensors in memory, and how far the losses are apart; then the goals, and whether they are met.

`grid` samples as `evaluate` does, with the network's calls as graphs that are captured within the time, and in turn with
diffusers' StableDiffusionPipeline as its users call it: all parts in bf16, the same solver, steps, guidance and batch.
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
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Checkpoint, Family, Model
from lorapipe.models.sd15 import SD15
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
GRID, SPEED = "grid", 2.0
"""The case that samples, and its goal: pictures a second over diffusers', at least."""
PICTURES, BATCH, SAMPLING_STEPS, CFG = 96, 8, 25, 7.0
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


def sampled_by_us(model: Model, side: int, pictures: int) -> float:
    """Sample a grid cell's pictures with `Sampler`; return the seconds."""
    recipe = SamplingOptions((side, side), SAMPLING_STEPS, CFG)
    start = synchronised()
    sampler = Sampler(model, recipe, lambda event: print(event))
    sampler.read(["penny"], batches=-(-pictures // BATCH))
    for first in range(0, pictures, BATCH):
        seeds = range(first, min(first + BATCH, pictures))
        sampler.pictures(["penny"] * len(seeds), seeds, lambda: None)
    return synchronised() - start


def diffusers_pipeline(model: Model) -> Any:
    """Return diffusers' pipeline of a model of its own, which is changed: all parts in its dtype and usual layout."""
    from diffusers import StableDiffusionPipeline

    parts: Any = {name: model.part(name) for name in ("unet", "vae", "text_encoder")}
    for module in parts.values():
        torch.nn.Module.to(module, model.dtype, memory_format=torch.contiguous_format)
    (text,) = model.texts  # type: ignore[attr-defined]
    pipeline = StableDiffusionPipeline(
        **parts, tokenizer=model.tokenizer(text), scheduler=model.scheduler(),  # type: ignore[attr-defined]
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sampled_by_diffusers(pipeline: Any, model: Model, side: int, pictures: int) -> float:
    """Sample as many with diffusers' pipeline; return the seconds."""
    shape = model.latent_shape((side, side))
    pipeline.scheduler = model.diffusion.solver("dpm++", SAMPLING_STEPS, model.device, shape).scheduler
    start = synchronised()
    for first in range(0, pictures, BATCH):
        count = min(BATCH, pictures - first)
        pipeline(["penny"] * count, num_inference_steps=SAMPLING_STEPS, guidance_scale=CFG, height=side, width=side)
    return synchronised() - start


def compare_grid(options: argparse.Namespace, device: str) -> bool:
    """Measure a grid's pictures a second beside diffusers'; return whether the goal is met."""
    checkpoint = pocket.BASE if options.dry else options.work / "sd15"
    if not options.dry and not (checkpoint / "scheduler").exists():
        full_size.build("sd15", checkpoint)
    base = SD15(checkpoint=Checkpoint(checkpoint))
    dtype = devices.dtype("auto", device)
    ours, theirs = base.load(device, dtype), base.load(device, dtype)
    pipeline, side, count = (
        diffusers_pipeline(theirs),
        64 if options.dry else 512,
        2 * BATCH if options.dry else PICTURES,
    )
    runs: dict[str, list[float]] = {"ours": [], "diffusers": []}
    for turn in range(1 if options.dry else 4):
        seconds = {
            "ours": sampled_by_us(ours, side, count),
            "diffusers": sampled_by_diffusers(pipeline, theirs, side, count),
        }
        if turn or options.dry:  # the first loads kernels
            for which, found in seconds.items():
                runs[which].append(found)
    if options.dry:
        print(f"{GRID:28} runs")
        return True
    speeds = {which: count / statistics.median(found) for which, found in runs.items()}
    for which, speed in speeds.items():
        print(f"{GRID:28} {which:9} {speed:6.2f} pictures a second")
    ratio = speeds["ours"] / speeds["diffusers"]
    print(f"{GRID:28} {ratio:.2f} times diffusers': {'' if ratio >= SPEED else 'NOT '}as wished")
    return ratio >= SPEED


def main() -> int:
    """Compare each case; return 1 if a goal is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=[*GOALS, GRID])
    parser.add_argument("--steps", type=int, default=10, help="of each of the five turns")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-full-size")
    parser.add_argument("--dry", action="store_true", help="the pocket base on any device: that it runs, no figures")
    options = parser.parse_args()
    device = "cpu" if options.dry else devices.resolve("auto")
    if not options.dry and not device.startswith("cuda"):
        parser.error("there is no GPU; --dry only tries whether it runs")
    print(torch.cuda.get_device_name() if device.startswith("cuda") else "CPU: no figures", "torch", torch.__version__)
    met = [
        compare_grid(options, device) if case == GRID else compare(case, options, device)
        for case in ([DRY, GRID] if options.dry else options.cases)
    ]
    return 0 if all(met) or options.dry else 1


if __name__ == "__main__":
    raise SystemExit(main())

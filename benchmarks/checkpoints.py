"""Time that checkpoints take from a training: they are written with a checksum and synced, between two steps.

    python benchmarks/checkpoints.py [--megabytes 300] [--times 7] [--folder FOLDER]

The same state is written in three ways in turn: to the page cache alone, synced, and as in training. Wall time and CPU
time are the minimum of several runs, since other programs only ever add. A checkpoint is written once a minute and at
every snapshot; the last column is its share of a minute. Then follows a training on the pocket base, with its
checkpoints' share of the time. --folder chooses the disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from step_time import context, prepared

from lorapipe import pocket
from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.spec import Duration
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval
from lorapipe.training.monitor import CHECKPOINT_SECONDS
from lorapipe.training.resume_state import Checkpoints, Trainable


def trainable(megabytes: float) -> Trainable:
    """Return parameters with AdamW's two moments, `megabytes` in all."""
    parameter = torch.nn.Parameter(torch.randn(int(megabytes * 1e6 / 12)))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return Trainable({"unet": [parameter]}, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def write(state: Any, path: Path, synced: bool) -> None:
    """Write without a checksum, synced or not."""
    with path.open("wb") as file:
        torch.save(state, file)
        if synced:
            file.flush()
            os.fsync(file.fileno())


def ways(folder: Path, megabytes: float, times: int) -> None:
    """Compare the three ways to write the same state."""
    state = trainable(megabytes)
    checkpoints = Checkpoints(folder / "checkpoints")
    step = iter(range(1, 1000))
    named: dict[str, Callable[[], None]] = {
        "page cache alone": lambda: write(state.state(), folder / "plain.pt", False),
        "synced": lambda: write(state.state(), folder / "synced.pt", True),
        "checksum, synced, renamed": lambda: checkpoints.save(next(step), state),
    }
    clock: dict[str, list[float]] = {name: [] for name in named}
    cpu: dict[str, list[float]] = {name: [] for name in named}
    for _ in range(times):
        for name, way in named.items():
            used = time.process_time()
            clock[name].append(seconds(way))
            cpu[name].append(time.process_time() - used)
    print(f"{megabytes:g} MB, ms by the clock and of the CPU")
    for name in named:
        least = min(clock[name])
        print(f"  {name:<28} {1e3 * least:8.0f} {1e3 * min(cpu[name]):8.0f} {100 * least / CHECKPOINT_SECONDS:8.2f} %")


def training(folder: Path) -> None:
    """Train on the pocket base, with ten snapshots, and print the checkpoints' share."""
    base = SD15(checkpoint=Checkpoint(pocket.BASE))
    dataset = prepared(folder, base, None, 2, "cpu")
    waits: list[float] = []
    save = Checkpoints.save

    def timed(*given: Any) -> None:
        waits.append(seconds(lambda: save(*given)))

    Checkpoints.save = timed  # type: ignore[method-assign]
    train = Train(dataset=dataset, adapter=LoRA(rank=16), steps=Duration(200), snapshots=Interval(10), batch=1)
    whole = seconds(lambda: train.run(context(folder, "train", "cpu")))
    size = max(file.stat().st_size for file in (folder / "train" / "resume" / "checkpoints").iterdir())
    print(f"a training on the pocket base, 200 steps, {len(waits)} checkpoints of {size / 1e6:.1f} MB")
    print(f"  {1e3 * statistics.median(waits):.1f} ms each, {100 * sum(waits) / whole:.2f} % of its {whole:.1f} s")


def seconds(what: Callable[[], object]) -> float:
    """Return the wall time: the training waits for the disk."""
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ways(Path(folder), options.megabytes, options.times)
        training(Path(folder))


if __name__ == "__main__":
    main()

"""Paints trainings in several processes at once: one that fails takes nobody with it."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.judging import truth
from benchmarks.judging.grids import BASE, LOW, Bench, Machine
from benchmarks.judging.trainings import Training
from lorapipe.pipeline.context import ModelCache


def say(start: float, text: str) -> None:
    """Print with the seconds since the start."""
    print(f"{time.time() - start:6.1f}s {text}", flush=True)


def paint_all(
    work: Path, trainings: Sequence[Training], device: str, workers: int, minutes: float, examples: int
) -> None:
    """Everything that is missing, the truth's network first; what is not finished after `minutes` is left."""
    start = time.time()
    os.environ["OMP_NUM_THREADS"] = "1"
    work.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    of_one: dict[str, list[Training]] = {}
    for each in trainings:
        if not Bench(work, each).done:
            of_one.setdefault(each.trained_key, []).append(each)
    jobs = [None, *of_one.values()]
    left = spawn.Value("i", 0)
    target = partial(_work, work, jobs, left, device, examples, start)
    running: list[BaseProcess] = []
    while time.time() - start < 60 * minutes:
        running = [each for each in running if each.is_alive()]
        while len(running) < workers and left.value < len(jobs):
            running.append(spawn.Process(target=target))
            running[-1].start()
        if not running:
            break
        time.sleep(0.2)
    for process in running:
        process.kill()
        process.join()
    missing = [each.key for each in trainings if not Bench(work, each).done]
    say(start, f"{len(trainings) - len(missing)} of {len(trainings)} painted; missing: {', '.join(missing) or 'none'}")


def _work(
    work: Path, jobs: Sequence[Sequence[Training] | None], left: Any, device: str, examples: int, start: float
) -> None:
    """Take the next job until there is none: the truth's network, or all repeats of a training, which share its folder.

    After an error the process ends, since its GPU may be of no use any more.
    """
    import torch

    torch.set_num_threads(1)
    machine = Machine(device, ModelCache())
    while True:
        with left.get_lock():
            place, left.value = left.value, left.value + 1
        if place >= len(jobs):
            return
        job = jobs[place]
        try:
            if job is None:
                truth.prepared(work, device, examples)
                say(start, "the truth's network is there")
            else:
                for each in job:
                    Bench(work, each).paint(machine, partial(say, start))
        except Exception:
            name = "truth" if job is None else job[0].trained_key
            say(start, f"{name} FAILED\n{traceback.format_exc()}")
            (work / f"{name}.error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            return


def told(work: Path, trainings: Sequence[Training], device: str) -> list[str]:
    """Ask the truth's network about every picture; the folders of the trainings that are painted."""
    truth.prepared(work, device, 8_000)  # where it was not finished beside the trainings
    network, found = truth.classifier(work, device), []
    for training in trainings:
        bench = Bench(work, training)
        if not bench.done:
            continue
        found.append(training.key)
        if (bench.folder / "said.npz").exists():
            continue
        low = replace(bench.images, folder=bench.images.folder / LOW.rstrip("/"))
        pictures = {cell.slug: bench.images.pictures(cell) for cell in (BASE, *training.cells)}
        pictures |= {f"{LOW}{cell.slug}": low.pictures(cell) for cell in (BASE, training.low)}
        files = [bench.trained / "pictures" / each.path for each in bench.manifest.training]
        drawn = {"training": [Image.open(file).convert("RGB") for file in files]}
        said: dict[str, Any] = {name: truth.truths(network, each) for name, each in (pictures | drawn).items()}
        shown = bench.folder / "shown"
        shown.mkdir(exist_ok=True)
        for name in (BASE.slug, training.low.slug, f"{LOW}{training.low.slug}"):
            _sheet(pictures[name]).save(shown / f"{name.replace('/', '-')}.webp", quality=80)
        np.savez_compressed(bench.folder / "said.npz", **said)
    return found


def _sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures in a row."""
    wide, high = pictures[0].size
    sheet = Image.new("RGB", (wide * len(pictures), high))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place * wide, 0))
    return sheet

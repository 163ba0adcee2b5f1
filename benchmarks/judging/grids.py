"""Trains what is planted, paints its grid, probes its losses: each once, kept in a folder, resumed where stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.judging.trainings import RATE, Training
from lorapipe import formats
from lorapipe.evaluation.grid_plan import BASE, Cell
from lorapipe.evaluation.grid_sampler import GridSampler, PictureCounter
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.probe import Prober
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Checkpoint, TextReading
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.context import Context, ModelCache
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import Scene
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.interval import Interval
from lorapipe.training.model_contexts import attached

NOISES, STEPS, CFG, BATCH = 2, 8, 4.0, 8


def base() -> SD15:
    """The pocket base."""
    return SD15(checkpoint=Checkpoint.parse("pocket", Path()))


def nothing(*_: object) -> None:
    """Takes events and stops nothing."""


class Bench:
    """The folder of one training."""

    def __init__(self, work: Path, training: Training, warm: ModelCache) -> None:
        self.training, self.warm = training, warm
        self.folder = work / training.key
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def images(self) -> ImageStore:
        """The painted pictures."""
        return ImageStore(self.folder / "cells", tuple(self.training.prompts()), NOISES, 0)

    @property
    def probe_file(self) -> Path:
        """Losses of the cells that stand for strength 1, by their slugs."""
        return self.folder / "probes.json"

    @property
    def dataset(self) -> Dataset:
        """What it is trained on, prepared."""
        return Dataset(self.folder / "prepare" / "manifest.json", base(), self.folder / "pictures", self.folder)

    def context(self, name: str) -> Context:
        """For a stage."""
        out, resume = self.folder / name, self.folder / f"{name}.resume"
        out.mkdir(exist_ok=True)
        resume.mkdir(exist_ok=True)
        return Context(out, resume, self.folder / "cache", nothing, lambda: False, "cpu", self.warm)

    def train(self) -> Weights:
        """Draw, prepare and train, unless that was done."""
        done, training = self.folder / "trained.json", self.training
        pictures = self.folder / "pictures"
        if not done.exists():
            pictures.mkdir(exist_ok=True)
            for number, (picture, text) in enumerate(training.drawings()):
                picture.save(pictures / f"{number:02d}.png")
                (pictures / f"{number:02d}.txt").write_text(text, encoding="utf-8")
            Prepare(images=Source(pictures), base=base(), duplicate_tolerance=0).run(self.context("prepare"))
        train = Train(
            dataset=self.dataset, adapter=LoCon(rank=16), steps=Duration(training.steps), batch=4, seed=training.seed,
            snapshots=Interval(training.every, "steps"), unet_lr=RATE * training.factor,
            text_encoder_lr=RATE / 2 * training.factor,
        )  # fmt: skip
        weights = train.run(self.context("train"))
        done.write_text("{}", encoding="utf-8")
        return weights

    def paint(self, say: Callable[[str], None]) -> None:
        """Train, paint and probe what is missing."""
        if (self.folder / "done").exists():
            return
        weights, family = self.train(), base()
        say(f"{self.training.key}: trained")
        model = self.warm.model(family, "cpu", "fp32") if hasattr(self.warm, "model") else family.load("cpu")
        views = self.training.views.values()
        cells = sorted({real for view in views for real in view.cells().values()})
        probed = {real for view in views for real in view.probed.values()}
        sampler = Sampler(model, SamplingOptions((64, 64), STEPS, CFG))
        grid = GridSampler(sampler, self.images, BATCH, PictureCounter(0, nothing), nothing)
        manifest = Manifest.load(self.dataset.manifest)
        scene = Scene(self.dataset.images, manifest.background)
        prober = Prober(model, manifest, scene, Cache(self.folder / "cache"), Captioning(), TextReading())
        found: dict[str, Any] = {"base": vars_of(prober.base)}
        grid.sample_base()
        files = {each.step: each.path for each in weights.snapshots}
        with attached(LoCon(rank=16), model, model.trainable) as adapter:
            for step in sorted({cell.step for cell in cells}):
                adapter.load(formats.open(files[step], model.kohya_names()))
                for cell in (each for each in cells if each.step == step):
                    if cell in probed:
                        adapter.set_strength(cell.strengths(model.denoiser, model.trainable))
                        found[cell.slug] = vars_of(prober())
                    grid.sample(cell, adapter)
                say(f"{self.training.key}: step {step}")
        self.probe_file.write_text(json.dumps(found), encoding="utf-8")
        (self.folder / "done").touch()


def vars_of(probe: Any) -> dict[str, list[float]]:
    """A probe as JSON."""
    return {"training": list(probe.training), "held_out": list(probe.held_out)}


def paint_all(work: Path, trainings: list[Training], say: Callable[[str], None] = print) -> None:
    """Everything that is missing, one after the other."""
    torch.set_num_threads(1)
    warm = ModelCache()
    for training in trainings:
        Bench(work, training, warm).paint(say)


__all__ = ["BASE", "Bench", "Cell", "paint_all"]

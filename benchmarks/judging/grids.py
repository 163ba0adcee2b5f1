"""Trains what is planted, paints its grid, probes its losses, looks at the pictures: each once, resumed where stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.judging import archive
from benchmarks.judging.trainings import Training
from lorapipe import formats
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.grid_plan import BASE, Cell, compared_captions
from lorapipe.evaluation.grid_sampler import GridSampler, PictureCounter
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.probe import Prober
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Checkpoint, Model, TextReading
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
from lorapipe.training.device import Compute
from lorapipe.training.interval import Interval
from lorapipe.training.model_contexts import attached

NOISES, STEPS, CFG, LOW_CFG, BATCH = 3, 8, 4.0, 1.5, 16
LOW = f"cfg-{LOW_CFG:g}/"
"""What the names of cells with little guidance begin with."""
CAPTIONED = "captions"
"""What the base paints of the training's captions."""


def base() -> SD15:
    """The pocket base."""
    return SD15(checkpoint=Checkpoint.parse("pocket", Path()))


def nothing(*_: object) -> None:
    """Takes events and stops nothing."""


@dataclass(frozen=True)
class Machine:
    """Where it is computed, and the base model there."""

    device: str
    warm: ModelCache

    @property
    def model(self) -> Model:
        """The base, without an adapter."""
        return Compute.of(self.device, "fp32").model(base(), self.warm)


class Bench:
    """The folders of one training: what it was trained on and its weights in `trained`, its pictures in `folder`."""

    def __init__(self, work: Path, training: Training) -> None:
        self.training = training
        self.folder, self.trained = work / training.key, work / training.trained_key

    @property
    def done(self) -> bool:
        """Whether everything is there that a judgement needs."""
        return (self.folder / "done").exists()

    @property
    def images(self) -> ImageStore:
        """The painted pictures."""
        return ImageStore(self.folder / "cells", tuple(self.training.prompts()), NOISES, self.training.repeat * NOISES)

    @property
    def probes(self) -> Path:
        """Losses of the cells that stand for strength 1, by their slugs."""
        return self.folder / "probes.json"

    @property
    def seen(self) -> Path:
        """What the base sees in the pictures, by the slugs of cells: see `archive`."""
        return self.folder / "seen.npz"

    @property
    def manifest(self) -> Manifest:
        """What it was trained on."""
        return Manifest.load(self.dataset.manifest)

    @property
    def dataset(self) -> Dataset:
        """What it is trained on, prepared."""
        return Dataset(self.trained / "prepare" / "manifest.json", base(), self.trained / "pictures", self.trained)

    def context(self, name: str, machine: Machine) -> Context:
        """For a stage."""
        out, resume = self.trained / name, self.trained / f"{name}.resume"
        out.mkdir(parents=True, exist_ok=True)
        resume.mkdir(exist_ok=True)
        return Context(out, resume, self.trained / "cache", nothing, lambda: False, machine.device, machine.warm)

    def train(self, machine: Machine) -> Weights:
        """Draw, prepare and train, as far as that was not done."""
        training, pictures = self.training, self.trained / "pictures"
        if not (self.trained / "prepare" / "manifest.json").exists():
            pictures.mkdir(parents=True, exist_ok=True)
            for number, (picture, text) in enumerate(training.drawings()):
                picture.save(pictures / f"{number:02d}.png")
                (pictures / f"{number:02d}.txt").write_text(text, encoding="utf-8")
            Prepare(images=Source(pictures), base=base(), duplicate_tolerance=0).run(self.context("prepare", machine))
        return Train(
            dataset=self.dataset, adapter=LoCon(rank=16), steps=Duration(training.steps), batch=4, seed=training.seed,
            snapshots=Interval(training.every, "steps"), precision="fp32", scheduler=training.scheduler, **training.rates,
        ).run(self.context("train", machine))  # fmt: skip

    def paint(self, machine: Machine, say: Callable[[str], None]) -> None:
        """Train, paint, probe and look at what is missing."""
        if self.done:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        weights, model, training = self.train(machine), machine.model, self.training
        say(f"{training.key}: trained")
        probed = {real for view in training.views.values() for real in view.probed.values()}
        grid = GridSampler(
            Sampler(model, SamplingOptions((64, 64), STEPS, CFG)),
            self.images,
            BATCH,
            PictureCounter(0, nothing),
            nothing,
        )
        low, prober, captioned = grid.at(LOW_CFG), self._prober(model), self._captioned(grid)
        found: dict[str, Any] = {"base": vars_of(prober.base)}
        for each in (grid, low, captioned):
            each.sample_base()
        files = {each.step: each.path for each in weights.snapshots}
        with attached(LoCon(rank=16), model, model.trainable) as adapter:
            for step in sorted({cell.step for cell in training.cells}):
                adapter.load(formats.open(files[step], model.kohya_names()))
                for cell in (each for each in training.cells if each.step == step):
                    if cell in probed:
                        adapter.set_strength(cell.strengths(model.denoiser, model.trainable))
                        found[cell.slug] = vars_of(prober())
                    grid.sample(cell, adapter)
                if step == training.low.step:
                    low.sample(training.low, adapter)
        self.probes.write_text(json.dumps(found), encoding="utf-8")
        self._look(model, low.images, captioned.images)
        (self.folder / "done").touch()
        say(f"{training.key}: painted")

    def _prober(self, model: Model) -> Prober:
        manifest = self.manifest
        scene = Scene(self.dataset.images, manifest.background)
        return Prober(model, manifest, scene, Cache(self.trained / "cache"), Captioning(), TextReading())

    def _captioned(self, grid: GridSampler) -> GridSampler:
        return grid.of_texts(CAPTIONED, [self.captions[place] for place in compared_captions(self.captions)])

    @property
    def captions(self) -> list[str]:
        """The captions that it was trained with."""
        return [each.caption for each in self.manifest.training]

    def _look(self, model: Model, low: ImageStore, captioned: ImageStore) -> None:
        """Keep what the base sees in the pictures."""
        read, manifest, training = FeatureReader(model), self.manifest, self.training
        pictures = [Image.open(self.trained / "pictures" / each.path).convert("RGB") for each in manifest.training]
        seen = {"training": read.training(pictures), CAPTIONED: read(captioned.pictures(BASE))}
        for name, images, cells in (("", self.images, [BASE, *training.cells]), (LOW, low, [BASE, training.low])):
            seen |= {f"{name}{cell.slug}": read(images.pictures(cell)) for cell in cells}
        archive.keep(self.seen, seen, grams=training.what == "style")


def vars_of(probe: Any) -> dict[str, list[float]]:
    """A probe as JSON."""
    return {"training": list(probe.training), "held_out": list(probe.held_out)}


__all__ = ["BASE", "CAPTIONED", "LOW", "Bench", "Cell", "Machine", "base"]

"""A random SD1.x of half a million parameters and a dataset of drawn pictures: real training in seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.context import Context, ModelCache
from lorapipe.pipeline.events import Event
from lorapipe.spec import Source
from lorapipe.stages.prepare import Prepare

DEVICE = os.environ.get("LORAPIPE_TEST_DEVICE", "cpu")
"""Where trainings and models of the tests compute: on a GPU, `LORAPIPE_TEST_DEVICE=cuda:0`."""
COLOURS = ("red", "green", "blue", "orange", "purple")


@dataclass
class Bench:
    """A folder to run stages in, as the engine would, and what they told."""

    folder: Path
    model_cache: ModelCache = field(default_factory=ModelCache)
    told: list[Event] = field(default_factory=list)
    stopping: Callable[[], bool] = lambda: False

    def context(self, name: str, emit: Callable[[Event], None] | None = None) -> Context:
        """A fresh `out` and the `resume` of earlier attempts of the same name."""
        attempt = self.folder / name
        out = attempt / f"out-{sum(1 for _ in attempt.glob('out-*'))}"
        out.mkdir(parents=True)
        (attempt / "resume").mkdir(exist_ok=True)
        return Context(
            out=out,
            resume=attempt / "resume",
            cache=self.folder / "cache",
            emit=emit or self.told.append,
            stopping=self.stopping,
            device=DEVICE,
            model_cache=self.model_cache,
        )

    def of(self, kind: type[Event]) -> list[Event]:
        """What was told of a kind."""
        return [event for event in self.told if isinstance(event, kind)]


def draw(folder: Path) -> Path:
    """Pictures of two shapes in two formats, with captions."""
    folder.mkdir()
    for index, colour in enumerate(COLOURS):
        size = (64, 96) if index == 4 else (64, 64)
        picture = Image.new("RGB", size, "white")
        ImageDraw.Draw(picture).ellipse((8 + 4 * index, 8, 40 + 4 * index, 40 + 4 * index), fill=colour)
        picture.save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"penny, {colour}", encoding="utf-8")
    return folder


def dataset(folder: Path) -> Dataset:
    """The pictures, prepared for the tiny base, both below `folder`; made once for a folder."""
    if (folder / "prepare").exists():
        base = SD15(checkpoint=Checkpoint(folder / "base"))
        return Dataset(folder / "prepare" / "out-0" / "manifest.json", base, folder / "pictures", folder)
    base = SD15.tiny(folder / "base")
    prepare = Prepare(images=Source(draw(folder / "pictures")), base=base, duplicate_tolerance=0)
    return prepare.run(Bench(folder).context("prepare"))

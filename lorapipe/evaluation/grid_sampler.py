"""Samples the pictures of each grid cell into an image store, and reports progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lorapipe.evaluation.grid_plan import BASE, Cell, GridPlan
from lorapipe.evaluation.image_store import ImageSlot, ImageStore
from lorapipe.evaluation.sampler import Sampler, Start
from lorapipe.pipeline.events import Event, Log, Preview, Progress
from lorapipe.training.adapters import Attached


@dataclass
class PictureCounter:
    """Counts the pictures of an evaluation. Pictures of an earlier attempt count as done, but not for the speed."""

    total: int
    emit: Callable[[Event], None]
    done: int = 0
    sampled: int = 0
    start: float = field(default_factory=time.monotonic)

    def restart(self, total: int) -> None:
        """Count anew up to another total; what is there already is counted again as it is found."""
        self.total, self.done, self.sampled, self.start = total, 0, 0, time.monotonic()

    def leave(self, pictures: int) -> None:
        """Count pictures out that are not wanted after all, and emit the progress."""
        self.total -= pictures
        self.add(0, sampled=False)

    def add(self, pictures: int, sampled: bool) -> None:
        """Count pictures that are there now and emit the progress; `sampled` says whether they were sampled just now."""
        self.done += pictures
        self.sampled += pictures if sampled else 0
        rate = self.sampled / max(time.monotonic() - self.start, 1e-9)
        left = (self.total - self.done) / rate if self.sampled else None
        self.emit(Progress(step=self.done, total=self.total, unit="pictures", seconds_left=left))


@dataclass(frozen=True)
class GridSampler:
    """Samples cells into `images`, `batch` pictures at once; pictures that are there already are kept.

    `check` is called before each sampling step and may raise, to stop. `start` gives what pictures begin at (img2img);
    None is pure noise, at which the base's pictures always begin.
    """

    sampler: Sampler
    images: ImageStore
    batch: int
    counter: PictureCounter
    check: Callable[[], None]
    start: Callable[[Sequence[ImageSlot]], Start] | None = None

    def sample_base(self) -> None:
        """Sample the base; no adapter may be in the model."""
        replace(self, start=None)._sample(BASE)

    def sample(self, cell: Cell, adapter: Attached) -> None:
        """Sample a cell; its snapshot must be loaded in the adapter."""
        model = self.sampler.model
        adapter.set_strength(cell.strengths(model.denoiser, model.trainable))
        self._sample(cell)

    def at(self, cfg: float) -> GridSampler:
        """The same at another guidance, into a folder of its own."""
        sampler = Sampler(self.sampler.model, replace(self.sampler.recipe, cfg=cfg), self.sampler.emit)
        images = replace(self.images, folder=self.images.folder / f"cfg-{cfg:g}")
        return replace(self, sampler=sampler, images=images)

    def of_prompts(self, most: int) -> GridSampler:
        """The same for the first prompts only."""
        return replace(self, images=self.images.of_prompts(most))

    def of_texts(self, name: str, texts: Sequence[str]) -> GridSampler:
        """The same for other texts, a picture of each, into a folder of that name."""
        images = replace(self.images, folder=self.images.folder / name, prompts=tuple(texts), count=1, first=0)
        return replace(self, images=images)

    def doubled(self, plan: GridPlan) -> GridSampler:
        """The same with twice as many pictures of each prompt in each of the plan's cells."""
        images = self.images.doubled()
        self.counter.restart(plan.pictures(len(images.prompts), images.count))
        return replace(self, images=images)

    def preview(self, cell: Cell) -> None:
        """Emit a cell's first picture as a preview."""
        path = self.images.path(cell, self.images.slots[0])
        self.counter.emit(Preview(path=str(path), caption=f"{cell}: {self.images.prompts[0]}"))

    def _sample(self, cell: Cell) -> None:
        images = self.images
        for path in images.drop_damaged(cell):
            text = f"the picture {path.name} of an earlier attempt ({cell}) is damaged, and is made again"
            self.counter.emit(Log(text=text, level="warning"))
        missing = images.missing(cell, self.batch)
        self.counter.add(len(images.slots) - sum(map(len, missing)), sampled=False)
        if missing:
            self.sampler.read(images.prompts, len(missing))
        for slots in missing:
            prompts = [images.prompts[slot.prompt] for slot in slots]
            seeds = [images.noise_seed(slot) for slot in slots]
            start = self.start(slots) if self.start else None
            images.keep(cell, slots, self.sampler.pictures(prompts, seeds, self.check, start))
            self.counter.add(len(slots), sampled=True)

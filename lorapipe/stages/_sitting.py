"""An evaluation under way: the base in memory, an adapter in it, pictures and probes taken cell by cell."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from lorapipe.errors import InputError, Problem
from lorapipe.evaluation import probe
from lorapipe.evaluation.grid_plan import BASE, Cell, evenly_spaced
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.sampler import Sampler
from lorapipe.evaluation.selection import Probe
from lorapipe.formats import AdapterWeights
from lorapipe.formats._files import load
from lorapipe.pipeline.artifacts import Dataset, Snapshot
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log, Preview, Progress
from lorapipe.spec import from_dict
from lorapipe.training.adapters import Adapter, Attached
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import encode_latents, load_latents, missing_latents, picture_view
from lorapipe.training.data.manifest import Manifest, Picture
from lorapipe.training.data.training_set import scene_of
from lorapipe.training.families import Model
from lorapipe.training.model_contexts import attached

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.training_record import TrainingRecord

PROBED = 8
"""Pictures probed, of the training and of the held-out ones each: enough to see a trend, few enough to take seconds."""
COMPARED = 64
"""Training pictures compared with, at most."""


@dataclass
class Counter:
    """How far it is: pictures that were there already count, but not for the speed."""

    context: Context
    total: int
    done: int = 0
    sampled: int = 0
    start: float = field(default_factory=time.monotonic)

    def tell(self, pictures: int, fresh: bool) -> None:
        """So many pictures more."""
        self.done += pictures
        self.sampled += pictures if fresh else 0
        rate = self.sampled / max(time.monotonic() - self.start, 1e-9)
        left = (self.total - self.done) / rate if self.sampled else None
        self.context.emit(Progress(step=self.done, total=self.total, unit="pictures", seconds_left=left))


@dataclass(frozen=True)
class GridSampler:
    """Samples the pictures of each cell into an image store, `batch` at once."""

    sampler: Sampler
    images: ImageStore
    batch: int
    counter: Counter

    @property
    def model(self) -> Model:
        """The base."""
        return self.sampler.model

    def base(self) -> None:
        """The pictures without an adapter."""
        self._shoot(BASE)

    def show(self, cell: Cell) -> None:
        """Tell of a cell's first picture."""
        path = self.images.path(cell, self.images.slots[0])
        self.counter.context.emit(Preview(path=str(path), caption=f"{cell}: {self.images.prompts[0]}"))

    def cell(self, cell: Cell, adapter: Attached) -> None:
        """The pictures of a cell, its snapshot being in the adapter."""
        adapter.set_strength(cell.strengths(self.model.trainable))
        self._shoot(cell)

    def _shoot(self, cell: Cell) -> None:
        images, context = self.images, self.counter.context
        for path in images.drop_damaged(cell):
            text = f"the picture {path.name} of an earlier attempt ({cell}) is damaged, and is made again"
            context.emit(Log(text=text, level="warning"))
        missing = images.missing(cell, self.batch)
        self.counter.tell(len(images.slots) - sum(map(len, missing)), fresh=False)
        if missing:
            self.sampler.read(images.prompts)
        for slots in missing:
            prompts = [images.prompts[slot.prompt] for slot in slots]
            seeds = [images.noise_seed(slot) for slot in slots]
            images.keep(cell, slots, self.sampler.pictures(prompts, seeds, context.check))
            self.counter.tell(len(slots), fresh=True)


# ----------------------------------------------------------------------------------------------------------- adapters


def learnt(snapshot: Snapshot, model: Model) -> AdapterWeights:
    """The adapter in a snapshot's file."""
    try:
        return load(snapshot.path, model.kohya_names())
    except InputError as error:
        raise InputError(Problem(each.what, each.where, "Train again.") for each in error.problems) from None


@contextmanager
def trained(record: TrainingRecord, first: AdapterWeights, model: Model) -> Iterator[Attached]:
    """The adapter that the training had, in the parts that the weights are of."""
    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]  # the registry finds the file
    parts = [part for part in model.trainable if any(part == place[0] for place in first.modules)]
    with attached(from_dict(contract, record.settings["adapter"]), model, parts) as adapter:
        yield adapter


# ----------------------------------------------------------------------------------------------------------- the probe


class Prober:
    """Probes a model with a dataset's pictures, whatever adapter is in it; asked first of the base."""

    def __init__(self, dataset: Dataset, manifest: Manifest, cache: Cache, model: Model, record: TrainingRecord):
        self.model = model
        self.reading = record.reading
        captioning = from_dict(Captioning, manifest.captions or record.settings.get("captions") or {})
        self._training = evenly_spaced(manifest.training, PROBED)
        self._held_out = evenly_spaced(manifest.held_out, PROBED)
        chosen = [*self._training, *self._held_out]
        for _ in encode_latents(missing_latents(chosen, cache), scene_of(dataset, manifest), model, cache):
            pass
        self._subjects = {picture.path: _subject(picture, cache, model, captioning) for picture in chosen}
        self._base = self._losses()

    @property
    def base(self) -> Probe:
        """The base's own: 1 everywhere."""
        return self._probe(self._base)

    def __call__(self) -> Probe:
        """The probe of the model as it is now."""
        return self._probe(self._losses())

    def _probe(self, losses: Mapping[str, torch.Tensor]) -> Probe:
        def shares(pictures: Iterable[Picture]) -> tuple[float, ...]:
            paths = [picture.path for picture in pictures]
            return probe.relative(_stacked(losses, paths), _stacked(self._base, paths)) if paths else ()

        return Probe(shares(self._training), shares(self._held_out))

    def _losses(self) -> dict[str, torch.Tensor]:
        """The losses of each picture by its path; pictures of one shape go through the network together."""
        by_shape: dict[tuple[int, ...], list[str]] = {}
        for path, subject in self._subjects.items():
            by_shape.setdefault(tuple(subject.latent.shape), []).append(path)
        found: dict[str, torch.Tensor] = {}
        for paths in by_shape.values():
            rows = probe.losses(self.model, [self._subjects[path] for path in paths], **self.reading)
            found |= dict(zip(paths, rows, strict=True))
        return found


def _stacked(losses: Mapping[str, torch.Tensor], paths: Sequence[str]) -> torch.Tensor:
    return torch.stack([losses[path] for path in paths])


def _subject(picture: Picture, cache: Cache, model: Model, captioning: Captioning) -> probe.Subject:
    latent, framing = load_latents([picture], cache)[0], model.framing(picture.size, picture.crop, picture.bucket)
    return probe.Subject(latent, captioning.canonical(picture.caption), int(picture.digest[:12], 16), framing)


def training_pictures(dataset: Dataset, manifest: Manifest) -> list[Image]:
    """The training pictures as the trainer saw them, evenly chosen where there are many."""
    return [
        picture_view(dataset.images, each, manifest.background) for each in evenly_spaced(manifest.training, COMPARED)
    ]

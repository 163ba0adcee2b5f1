"""The order in which pictures are trained on: a pure function of the seed and the step.

No generator carries state from step to step. So a training that was killed at step 700 resumes with the same batch 701,
and previews, evaluation or the number of devices cannot change the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from lorapipe.training import seeds
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import View, load_views
from lorapipe.training.data.manifest import Picture

if TYPE_CHECKING:
    import torch


SampleIndex = tuple[int, int]
"""(index of a picture, number of its repeat in the epoch)."""


@dataclass(frozen=True)
class Batch:
    """Pictures of one bucket. `latents` is (B, C, h, w), float32, on the CPU; `indices` count in `Batches.pictures`.

    `repeats` numbers each picture's uses in the epoch, from 0. `mask` (B, 1, h, w) in 0 … 1 weights the loss by position,
    `weights` (B,) by picture; None means 1 everywhere.
    """

    index: int
    epoch: int
    indices: tuple[int, ...]
    repeats: tuple[int, ...]
    views: tuple[View, ...]
    latents: torch.Tensor
    mask: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    def part(self, samples: range) -> Batch:
        """Return the batch of the pictures at these positions."""
        places = list(samples)
        return replace(
            self,
            indices=tuple(self.indices[place] for place in places),
            repeats=tuple(self.repeats[place] for place in places),
            views=tuple(self.views[place] for place in places),
            latents=self.latents[places],
            mask=None if self.mask is None else self.mask[places],
            weights=None if self.weights is None else self.weights[places],
        )

    @property
    def captions(self) -> tuple[str, ...]:
        """The captions as the manifest has them, without augmentation."""
        return tuple(view.picture.caption for view in self.views)


class Batches:
    """An endless sequence of batches, indexed from 0.

    As in kohya's sd-scripts (`train_util.py`, `BucketManager.shuffle` and `BaseDataset.__getitem__`): each epoch, every
    bucket, which contains each picture `repeats` times, is shuffled and cut into batches, of which the last may be
    smaller; then the batches of all buckets are shuffled. Gradient accumulation takes consecutive batches.
    """

    def __init__(
        self, pictures: Sequence[Picture], batch_size: int, seed: int, weights: Sequence[float] | None = None
    ) -> None:
        """`weights` are the loss weights of the pictures; 1 by default."""
        if not pictures:
            raise ValueError("no pictures to train on")
        self.pictures = tuple(pictures)
        self.batch_size = batch_size
        self.seed = seed
        self.weights = weights
        self._buckets: dict[Pair, list[SampleIndex]] = {}
        for index, picture in enumerate(self.pictures):
            samples = ((index, repeat) for repeat in range(picture.repeats))
            self._buckets.setdefault(picture.bucket, []).extend(samples)
        self._order = lru_cache(maxsize=2)(self._draw)

    @property
    def pictures_per_epoch(self) -> int:
        """Number of pictures in an epoch, repeats counted."""
        return sum(len(bucket) for bucket in self._buckets.values())

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch; more than pictures / batch size where a bucket's last batch is not full."""
        return sum(-(-len(bucket) // self.batch_size) for bucket in self._buckets.values())

    def epoch(self, index: int) -> int:
        """Return the epoch, from 0, of batch `index`."""
        return index // self.per_epoch

    def indices(self, index: int) -> tuple[int, ...]:
        """Return the indices of the pictures in batch `index`."""
        return tuple(picture for picture, _ in self._samples(index))

    def load(self, index: int, cache: Cache) -> Batch:
        """Load batch `index` with its latents from the cache."""
        import torch

        samples, epoch = self._samples(index), self.epoch(index)
        indices, repeats = zip(*samples, strict=True)
        views = tuple(self._view(epoch, *sample) for sample in samples)
        latents, mask = load_views(views, cache)
        weights = None if self.weights is None else torch.tensor([self.weights[i] for i in indices])
        return Batch(index, epoch, indices, repeats, views, latents, mask, weights)

    def _view(self, epoch: int, index: int, repeat: int) -> View:
        """Draw one of the picture's variants, as a function of the seed."""
        picture = self.pictures[index]
        if not picture.variants:
            return View(picture, picture.plain)
        chance = seeds.chance("showing", self.seed, epoch, index, repeat)
        return View(picture, chance.choice(picture.variants))

    def _samples(self, index: int) -> tuple[SampleIndex, ...]:
        epoch, place = divmod(index, self.per_epoch)
        return self._order(epoch)[place]

    def _draw(self, epoch: int) -> list[tuple[SampleIndex, ...]]:
        """Draw the batches of an epoch. The generator is seeded by a hashed text, so neighbouring seeds are unrelated."""
        source = seeds.chance("batches", self.seed, epoch)
        batches = []
        for _, bucket in sorted(self._buckets.items()):
            order = source.sample(bucket, len(bucket))
            batches += [tuple(order[i : i + self.batch_size]) for i in range(0, len(order), self.batch_size)]
        source.shuffle(batches)
        return batches

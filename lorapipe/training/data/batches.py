"""The order in which pictures are trained on: a pure function of the seed and the step.

Nothing is drawn from a running generator, so a training that was killed at step 700 goes on with batch 701 as if
nothing had happened, and previews, evaluation or the number of devices cannot shift what comes next.
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
"""A picture, and which of its repeats in the epoch."""


@dataclass(frozen=True)
class Batch:
    """Pictures of one bucket. `latents` is (B, C, h, w), float32, on the CPU; `indices` count in `Batches.pictures`.

    `repeats` says of each which of its showings in the epoch this is, from 0. `mask` (B, 1, h, w) says where the training
    looks, `weights` (B,) how much each picture counts; None is everywhere, and alike.
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
        """Some of its pictures."""
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
        """The captions as the manifest has them."""
        return tuple(showing.picture.caption for showing in self.views)


class Batches:
    """An endless sequence of batches, each known by its number.

    As in kohya's sd-scripts (`train_util.py`, `BucketManager.shuffle` and `BaseDataset.__getitem__`): each bucket,
    every picture in it `repeats` times, is shuffled and cut into batches, the last of a bucket being as small as it
    falls; then the batches of all buckets are shuffled. Each epoch anew. Gradient accumulation takes consecutive ones.
    """

    def __init__(
        self, pictures: Sequence[Picture], batch_size: int, seed: int, weights: Sequence[float] | None = None
    ) -> None:
        """`weights` says how much each picture counts; alike by default."""
        if not pictures:
            raise ValueError("no pictures to train on")
        self.pictures = tuple(pictures)
        self.batch_size = batch_size
        self.seed = seed
        self.weights = weights
        self._buckets: dict[Pair, list[SampleIndex]] = {}
        for index, picture in enumerate(self.pictures):
            turns = ((index, repeat) for repeat in range(picture.repeats))
            self._buckets.setdefault(picture.bucket, []).extend(turns)
        self._order = lru_cache(maxsize=2)(self._draw)

    @property
    def pictures_per_epoch(self) -> int:
        """Pictures that an epoch shows, repeats counted."""
        return sum(len(bucket) for bucket in self._buckets.values())

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch; more than pictures / batch size where buckets do not come out even."""
        return sum(-(-len(bucket) // self.batch_size) for bucket in self._buckets.values())

    def epoch(self, index: int) -> int:
        """The epoch, from 0, that batch `index` belongs to."""
        return index // self.per_epoch

    def indices(self, index: int) -> tuple[int, ...]:
        """Which pictures make up batch `index`, from 0."""
        return tuple(picture for picture, _ in self._turns(index))

    def load(self, index: int, cache: Cache) -> Batch:
        """Batch `index`, from 0, with its latents."""
        import torch

        turns, epoch = self._turns(index), self.epoch(index)
        indices, repeats = zip(*turns, strict=True)
        views = tuple(self._showing(epoch, *turn) for turn in turns)
        latents, mask = load_views(views, cache)
        weights = None if self.weights is None else torch.tensor([self.weights[i] for i in indices])
        return Batch(index, epoch, indices, repeats, views, latents, mask, weights)

    def _showing(self, epoch: int, index: int, repeat: int) -> View:
        """The way in which a picture is shown this time: one of its variants, a function of the seed."""
        picture = self.pictures[index]
        if not picture.variants:
            return View(picture, picture.plain)
        chance = seeds.chance("showing", self.seed, epoch, index, repeat)
        return View(picture, chance.choice(picture.variants))

    def _turns(self, index: int) -> tuple[SampleIndex, ...]:
        epoch, place = divmod(index, self.per_epoch)
        return self._order(epoch)[place]

    def _draw(self, epoch: int) -> list[tuple[SampleIndex, ...]]:
        """The batches of an epoch. Seeded by text, which Python hashes: neighbouring seeds share nothing."""
        source = seeds.chance("batches", self.seed, epoch)
        batches = []
        for _, bucket in sorted(self._buckets.items()):
            order = source.sample(bucket, len(bucket))
            batches += [tuple(order[i : i + self.batch_size]) for i in range(0, len(order), self.batch_size)]
        source.shuffle(batches)
        return batches

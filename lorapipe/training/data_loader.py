"""The data loader: batches from the cache for the training loop, prefetched in a thread during the previous step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import torch

from lorapipe.spec import Duration
from lorapipe.training.data.batches import Batch, Batches
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.prefetch import prefetched
from lorapipe.training.data_parallel import SINGLE, DataParallel
from lorapipe.training.loop import MicroBatch, Update

Fetch = Callable[[], Mapping[str, torch.Tensor]]
"""Encodes or loads the captions of a batch; called in the training loop's thread."""
Condition = Callable[[Batch], Fetch]
"""Prepares the captions of a batch in the data loader's thread, ahead of time."""


@dataclass(frozen=True)
class TrainingLength:
    """The length of a training in steps and epochs: `duration`, with `accumulation` batches per optimizer step."""

    batches: Batches
    accumulation: int
    duration: Duration

    @property
    def per_epoch(self) -> float:
        """Optimizer steps of an epoch."""
        return self.batches.per_epoch / self.accumulation

    @property
    def total(self) -> int:
        """Optimizer steps of the whole training."""
        return self.duration.steps(self.per_epoch)

    def epoch(self, step: int) -> int:
        """Return the epoch, from 1, in which step `step`, from 1, ends."""
        return self.batches.epoch(step * self.accumulation - 1) + 1


@dataclass(frozen=True)
class DataLoader:
    """Loads the batches of each optimizer step with latents and captions; with several ranks, this rank's shard."""

    length: TrainingLength
    cache: Cache
    condition: Condition
    parallel: DataParallel = SINGLE

    def updates(self, done: int) -> Iterator[Update]:
        """Yield the batches of each step after the first `done` steps."""
        total, accumulation = self.length.total, self.length.accumulation
        loaded = prefetched(self._load, range(done * accumulation, total * accumulation), threads=1)
        for step in range(done, total):
            yield Update(step, list(islice(loaded, accumulation)))

    def _load(self, index: int) -> MicroBatch:
        batch = self.length.batches.load(index, self.cache)
        size = len(batch.latents)
        if self.parallel.world_size == 1:
            return MicroBatch(batch.latents, self.condition(batch), batch.mask, batch.weights)
        samples = self.parallel.shard(range(size))
        shard = batch.part(samples)
        condition = self.condition(shard) if samples else dict
        return MicroBatch(shard.latents, condition, shard.mask, shard.weights, samples, size)

"""The data loader: batches from the cache for the training loop, prefetched in a thread during the step before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch

from lorapipe.models import Model, TextReading
from lorapipe.spec import Duration
from lorapipe.training.data.batches import Batch, Batches
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import Encoders, load_conditions
from lorapipe.training.data.prefetch import prefetched
from lorapipe.training.data_parallel import SINGLE, DataParallel
from lorapipe.training.loop import MicroBatch, Update

Fetch = Callable[[], Mapping[str, torch.Tensor]]
"""Encodes or loads the captions of a batch; called in the thread of the loop."""
Condition = Callable[[Batch], Fetch]
"""Prepares the captions of a batch, ahead of time, in the thread of the data loader."""
Captions = Callable[[Batch], Sequence[str]]
"""The caption of each picture of a batch, as augmented this time."""


def encoded_live(model: Encoders, captions: Captions, reading: TextReading) -> Condition:
    """Captions encoded when they are needed, with gradients: for a text encoder that is trained."""
    return lambda batch: partial(model.encode_text, captions(batch), reading)


def encoded_once(encoder: str, cache: Cache, captions: Captions, reading: TextReading) -> Condition:
    """Captions encoded beforehand and loaded from the cache; `encoder` is their `encoder_digest`."""

    def condition(batch: Batch) -> Fetch:
        loaded = load_conditions(captions(batch), encoder, cache, reading)
        return lambda: loaded

    return condition


def with_size_conditioning(model: Model, condition: Condition) -> Condition:
    """Add the model's size conditioning to the text condition (SDXL's micro-conditioning: Podell et al. 2023, §2.2)."""

    def both(batch: Batch) -> Fetch:
        shapes = [model.framing(view.picture.size, view.corner, view.picture.bucket) for view in batch.views]
        sizes = {name: torch.cat([shape[name] for shape in shapes]) for name in shapes[0]}
        fetch = condition(batch)
        return (lambda: {**fetch(), **sizes}) if sizes else fetch

    return both


@dataclass(frozen=True)
class TrainingLength:
    """Steps and epochs: `accumulation` batches make one optimizer step (gradient accumulation), for `duration`."""

    batches: Batches
    accumulation: int
    duration: Duration

    @property
    def per_epoch(self) -> float:
        """Steps of an epoch."""
        return self.batches.per_epoch / self.accumulation

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        count = self.duration.count
        return count if self.duration.unit == "steps" else math.ceil(count * self.per_epoch)

    def epoch(self, step: int) -> int:
        """The epoch, from 1, in which step `step`, from 1, ends."""
        return self.batches.epoch(step * self.accumulation - 1) + 1


@dataclass(frozen=True)
class DataLoader:
    """The batches of each optimizer step, with latents and captions. In parallel training, this rank's shard of them."""

    length: TrainingLength
    cache: Cache
    condition: Condition
    parallel: DataParallel = SINGLE

    def updates(self, done: int) -> Iterator[Update]:
        """What each step is computed from, after the first `done` steps."""
        total, accumulation = self.length.total, self.length.accumulation
        loaded = prefetched(self._load, range(done * accumulation, total * accumulation), threads=1)
        for step in range(done, total):
            yield Update(step, list(islice(loaded, accumulation)))

    def _load(self, index: int) -> MicroBatch:
        batch = self.length.batches.load(index, self.cache)
        whole = len(batch.latents)
        if self.parallel.world_size == 1:
            return MicroBatch(batch.latents, self.condition(batch), batch.mask, batch.weights)
        samples = self.parallel.shard(range(whole))
        shard = batch.part(samples)
        condition = self.condition(shard) if samples else dict
        return MicroBatch(shard.latents, condition, shard.mask, shard.weights, samples, whole)

"""The loop's updates, made ready while the one before is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch

from lorapipe.spec import Duration
from lorapipe.training.data.ahead import ahead
from lorapipe.training.data.batches import Batch, Batches
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.encode import Encoders, load_conditions
from lorapipe.training.families import Model
from lorapipe.training.loop import MicroBatch, Update

Fetch = Callable[[], Mapping[str, torch.Tensor]]
Said = Callable[[Batch], Sequence[str]]
"""What is said of each picture of a batch."""


@dataclass(frozen=True)
class Reading:
    """How captions are read: `max_tokens` 75, 150 or 225, and which layer of the text encoder, from its end."""

    max_tokens: int = 75
    clip_skip: int = 1


def live(model: Encoders, said: Said, reading: Reading) -> Callable[[Batch], Fetch]:
    """Captions encoded when they are needed, with gradients: for a text encoder that is being trained."""
    return lambda batch: partial(model.encode_text, said(batch), **vars(reading))


def cached(encoder: str, cache: Cache, said: Said, reading: Reading) -> Callable[[Batch], Fetch]:
    """Captions encoded once, read from the cache; `encoder` is their `encoder_digest`."""

    def condition(batch: Batch) -> Fetch:
        loaded = load_conditions(said(batch), encoder, cache, **vars(reading))
        return lambda: loaded

    return condition


def framed(model: Model, condition: Callable[[Batch], Fetch]) -> Callable[[Batch], Fetch]:
    """A condition with what the network is told of the pictures' shapes laid beside it."""

    def both(batch: Batch) -> Fetch:
        shapes = [model.framing(each.picture.size, each.corner, each.picture.bucket) for each in batch.showings]
        told = {name: torch.cat([shape[name] for shape in shapes]) for name in shapes[0]}
        fetch = condition(batch)
        return (lambda: {**fetch(), **told}) if told else fetch

    return both


class Feed:
    """`batches` read from the cache, `accumulation` of them to an update, for as long as `duration`.

    `condition` gives, for a batch, what fetches its encoded captions; it is asked in another thread, ahead of time, the
    fetcher in the loop's own when the captions are needed.
    """

    def __init__(
        self, batches: Batches, accumulation: int, duration: Duration, cache: Cache, condition: Callable[[Batch], Fetch]
    ) -> None:
        self.batches = batches
        self.cache = cache
        self.condition = condition
        self.accumulation = accumulation
        self.duration = duration

    @property
    def per_epoch(self) -> float:
        """Updates in an epoch."""
        return self.batches.per_epoch / self.accumulation

    @property
    def total(self) -> int:
        """Updates in all."""
        count = self.duration.count
        return count if self.duration.unit == "steps" else math.ceil(count * self.per_epoch)

    def epoch(self, step: int) -> int:
        """The epoch, from 1, that update `step`, from 1, ends in."""
        return self.batches.epoch(step * self.accumulation - 1) + 1

    def updates(self, done: int) -> Iterator[Update]:
        """The updates after the first `done`."""
        loaded = ahead(self._load, range(done * self.accumulation, self.total * self.accumulation), threads=1)
        for step in range(done, self.total):
            yield Update(step, list(islice(loaded, self.accumulation)))

    def _load(self, index: int) -> MicroBatch:
        batch = self.batches.load(index, self.cache)
        return MicroBatch(batch.latents, self.condition(batch), batch.mask, batch.weights)

"""The loop's updates, made ready while the one before is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch

from lorapipe.spec import Duration
from lorapipe.training.data.batches import Batch, Batches
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import Encoders, Reading, load_conditions
from lorapipe.training.data.prefetch import ahead
from lorapipe.training.data_parallel import ALONE, Team
from lorapipe.training.families import Model
from lorapipe.training.loop import MicroBatch, Update

Fetch = Callable[[], Mapping[str, torch.Tensor]]
Said = Callable[[Batch], Sequence[str]]
"""What is said of each picture of a batch."""


def live(model: Encoders, said: Said, reading: Reading) -> Callable[[Batch], Fetch]:
    """Captions encoded when they are needed, with gradients: for a text encoder that is being trained."""
    return lambda batch: partial(model.encode_text, said(batch), **vars(reading))


def cached(encoder: str, cache: Cache, said: Said, reading: Reading) -> Callable[[Batch], Fetch]:
    """Captions encoded once, read from the cache; `encoder` is their `encoder_digest`."""

    def condition(batch: Batch) -> Fetch:
        loaded = load_conditions(said(batch), encoder, cache, reading)
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


@dataclass(frozen=True)
class Course:
    """How a training goes through its batches: `accumulation` of them to an update, for as long as `duration`."""

    batches: Batches
    accumulation: int
    duration: Duration

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


@dataclass(frozen=True)
class Feed:
    """The batches of a course, read from the cache.

    `condition` gives, for a batch, what fetches its encoded captions; it is asked in another thread, ahead of time, the
    fetcher in the loop's own when the captions are needed.
    """

    course: Course
    cache: Cache
    condition: Callable[[Batch], Fetch]
    team: Team = ALONE

    def updates(self, done: int) -> Iterator[Update]:
        """The updates after the first `done`."""
        total, of_each = self.course.total, self.course.accumulation
        loaded = ahead(self._load, range(done * of_each, total * of_each), threads=1)
        for step in range(done, total):
            yield Update(step, list(islice(loaded, of_each)))

    def _load(self, index: int) -> MicroBatch:
        batch = self.course.batches.load(index, self.cache)
        whole = len(batch.latents)
        if self.team.size == 1:
            return MicroBatch(batch.latents, self.condition(batch), batch.mask, batch.weights)
        mine = self.team.share(range(whole))
        part = batch.part(mine)
        condition = self.condition(part) if mine else dict
        return MicroBatch(part.latents, condition, part.mask, part.weights, mine, whole)

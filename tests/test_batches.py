"""The order of training: a function of the seed and the step, fair to every picture."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch

from lorapipe.errors import LorapipeError
from lorapipe.training.data.batches import Batches
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.manifest import Picture


def picture(name: str, bucket=(64, 64), repeats=1) -> Picture:
    return Picture(
        name, "d", bucket, bucket, bucket, (0, 0), repeats, f"caption of {name}", "none", False, f"{name:_>64}"
    )


PICTURES = (
    [picture(f"square {i}") for i in range(7)]
    + [picture(f"wide {i}", (128, 64), repeats=2) for i in range(3)]
    + [picture("tall", (64, 128))]
)


def epoch(batches: Batches, number: int) -> list[tuple[int, ...]]:
    return [batches.indices(number * batches.per_epoch + i) for i in range(batches.per_epoch)]


def test_an_epoch_shows_every_picture_as_often_as_its_repeats():
    batches = Batches(PICTURES, 4, seed=1)
    assert batches.pictures_per_epoch == 7 + 3 * 2 + 1
    for number in range(3):
        seen = Counter(index for batch in epoch(batches, number) for index in batch)
        assert seen == {index: p.repeats for index, p in enumerate(PICTURES)}


def test_batches_are_of_one_bucket_and_the_rest_of_a_bucket_is_kept():
    batches = Batches(PICTURES, 4, seed=1)
    drawn = epoch(batches, 0)
    assert all(len({PICTURES[i].bucket for i in batch}) == 1 for batch in drawn)
    assert sorted(map(len, drawn)) == [1, 2, 3, 4, 4]  # 7 = 4 + 3, 6 = 4 + 2, 1
    assert batches.per_epoch == 5


def test_any_batch_can_be_asked_for_and_is_the_same():
    """A resumed training asks for batch 17 without having seen those before."""
    forwards = [Batches(PICTURES, 2, seed=5).indices(n) for n in range(40)]
    one = Batches(PICTURES, 2, seed=5)
    assert [one.indices(n) for n in reversed(range(40))] == forwards[::-1]
    assert Batches(PICTURES, 2, seed=5).indices(17) == forwards[17]


def test_epochs_and_seeds_differ_and_buckets_are_mixed():
    batches = Batches(PICTURES, 1, seed=5)
    assert epoch(batches, 0) != epoch(batches, 1)
    assert epoch(batches, 0) != epoch(Batches(PICTURES, 1, seed=6), 0)
    assert epoch(Batches(PICTURES, 1, seed=6), 0) != epoch(batches, 1)  # kohya's seed + epoch would repeat itself
    buckets = [PICTURES[batch[0]].bucket for batch in epoch(batches, 0)]
    assert sum(a != b for a, b in pairwise(buckets)) > 2


def test_every_picture_comes_first_in_some_epoch():
    batches = Batches(PICTURES, 1, seed=0)
    first = {batches.indices(number * batches.per_epoch)[0] for number in range(300)}
    assert first == set(range(len(PICTURES)))


def test_a_batch_carries_its_latents_and_captions(tmp_path):
    cache = Cache(tmp_path)
    for number, p in enumerate(PICTURES):
        latents = torch.full((4, p.bucket[1] // 8, p.bucket[0] // 8), float(number))
        cache.keep_tensors("latents", p.latents, {"latents": latents})
    batches = Batches(PICTURES, 3, seed=2)
    for number in range(batches.per_epoch + 2):
        batch = batches.load(number, cache)
        assert batch.epoch == number // batches.per_epoch and batch.index == number
        assert batch.latents.shape[0] == len(batch.views) == len(batch.captions)
        assert batch.latents[:, 0, 0, 0].tolist() == list(map(float, batch.indices))
        assert batch.captions == tuple(f"caption of {PICTURES[i].path}" for i in batch.indices)


def test_latents_that_are_gone_are_named(tmp_path):
    with pytest.raises(LorapipeError, match="lost the latents of tall"):
        Batches([picture("tall")], 1, seed=0).load(0, Cache(tmp_path))

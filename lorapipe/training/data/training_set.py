"""What a training is fed: pictures of one or more datasets, and those of the class that regularise it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.manifest import Picture, by_bucket


@dataclass(frozen=True)
class TrainingSet:
    """Pictures to learn, pictures to be kept to, and how much one of the latter counts (`prior_loss_weight`).
    `held_out` pictures are not among them.

    `resolution` is that of the first dataset. `captions` says how captions vary where their dataset says so, by the
    picture's place in `all`, in document form.
    """

    resolution: Pair
    pictures: tuple[Picture, ...]
    regularisation: tuple[Picture, ...] = ()
    prior: float = 1.0
    held_out: int = 0
    captions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Picture, ...]:
        """Everything that is shown."""
        return self.pictures + self.regularisation

    @property
    def weights(self) -> tuple[float, ...] | None:
        """How much each of `all` counts; None where all count 1."""
        if not self.regularisation or self.prior == 1:
            return None
        return (1.0,) * len(self.pictures) + (self.prior,) * len(self.regularisation)

    def buckets(self) -> dict[Pair, int]:
        """Bucket → pictures of it (repeats not counted), sorted."""
        return by_bucket(self.all)


def matched(pictures: Sequence[Picture], wanted: int) -> tuple[Picture, ...]:
    """Regularisation pictures repeated, or left out from the end, until an epoch shows `wanted` of them.

    As kohya's sd-scripts (`train_util.py`, `DreamBoothDataset`): each with its own repeats once, then one more of each in
    turn.
    """
    repeats: list[int] = []
    for picture in pictures:
        if sum(repeats) >= wanted:
            break
        repeats.append(picture.repeats)
    short = wanted - sum(repeats)
    for place in range(max(0, short)):
        repeats[place % len(repeats)] += 1
    return tuple(replace(picture, repeats=times) for picture, times in zip(pictures, repeats, strict=False))

"""Measures of pictures: each a figure for every picture, learnt from the training pictures and the base's.

All but the `clip_…` ones need the base alone (`features`): no download, any family. To add one, create a file here: a
`Measure` subclass. It is fitted where it can be, its figures are in `report.json`, and the verdict reads those that it
knows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from lorapipe.registry import Registry

if TYPE_CHECKING:
    from lorapipe.evaluation.clip import Clip
    from lorapipe.evaluation.features import Array, Seen


@dataclass(frozen=True)
class Reference:
    """What a training was of, and what its base paints of the same prompts.

    `captions` are those of `training`, as the trainer read them; `prompt_of[n]` is the prompt of the n-th picture of every
    cell, the base's too. `clip` is None unless the user names one. `captioned` is what the base paints of some
    captions, those of the training pictures `captioned_of`; None where that was not painted. `few`: the training pictures
    are views of one or two (see `reference_views`), which say nothing of how true pictures differ.
    """

    training: Seen
    captions: Sequence[str]
    base: Seen
    prompts: Sequence[str]
    prompt_of: Sequence[int]
    clip: Clip | None = None
    captioned: Seen | None = None
    captioned_of: Sequence[int] = ()
    few: bool = False


class Measure(ABC):
    """A figure of each picture. `title` and `meaning` are what reports call it, and what 0 and 1 are."""

    title: ClassVar[str]
    meaning: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, reference: Reference) -> Self | None:
        """The measure of this training; None where it cannot be told: too few pictures, no prompt, no CLIP."""

    @abstractmethod
    def __call__(self, seen: Seen) -> Array:
        """The figure of each picture of a cell, (N,), in the order of `Reference.prompt_of`; NaN where there is none."""


REGISTRY: Registry[Measure] = Registry(__name__, Measure)  # type: ignore[type-abstract]  # the registry finds the files


def fitted(reference: Reference) -> dict[str, Measure]:
    """Every measure that can be taken, by its name."""
    found = {name: REGISTRY.get(name).fit(reference) for name in REGISTRY.names()}
    return {name: measure for name, measure in found.items() if measure is not None}

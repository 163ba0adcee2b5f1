"""What the measure `parts` takes for the subject: its heaviest groups, and where training pictures show each.

A figure can be believed if it can be seen what it is of. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lorapipe.evaluation.k_means import squares

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.features import Array, Seen
    from lorapipe.evaluation.measures.parts import Parts

GROUPS, PLACES = 6, 5
"""Groups that are shown, the heaviest first, and places of each, of as many pictures."""
AROUND = 0.4
"""The side of what is shown around a place, as a share of the picture's shorter side."""
Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; the last two are exclusive."""


@dataclass(frozen=True)
class SubjectPart:
    """A group of `parts`: its `share` of the whole weight, 0 … 1, and where it is found: training pictures and boxes."""

    share: float
    places: Sequence[tuple[int, Box]]

    def pictures(self, training: Sequence[Image]) -> list[Image]:
        """The places, cut from the training pictures."""
        return [training[number].crop(box) for number, box in self.places]


def subject_parts(parts: Parts, training: Seen, groups: int = GROUPS, places: int = PLACES) -> list[SubjectPart]:
    """The heaviest groups, each with the places of the training pictures that are nearest to its centre, one a picture."""
    levels = [(parts.large, training.patches), *([(parts.small, training.fine)] if parts.small else [])]
    found = [
        (float(weight), centre, features)
        for level, features in levels
        for weight, centre in zip(level.weight, level.centres, strict=True)
        if weight > 0
    ]
    whole = sum(weight for weight, _, _ in found)
    heaviest = sorted(found, key=lambda each: -each[0])[:groups]
    sizes = [picture.size for picture in training.pictures]
    return [
        SubjectPart(weight / whole, _nearest(centre, features, sizes)[:places]) for weight, centre, features in heaviest
    ]


def _nearest(centre: Array, features: Sequence[Array], sizes: Sequence[tuple[int, int]]) -> list[tuple[int, Box]]:
    """The place of every picture that comes nearest to a centre, the nearest first."""
    distances = [squares(each, centre[None])[:, 0] for each in features]
    order = np.argsort([each.min() for each in distances], kind="stable")
    return [(int(n), _box(int(distances[n].argmin()), len(features[n]), sizes[n])) for n in order]


def _box(place: int, places: int, size: tuple[int, int]) -> Box:
    """What is around a place, of so many in a picture of this size: a square within the picture."""
    width, height = size
    across = max(round((places * width / height) ** 0.5), 1)
    cell = width / across
    side = max(round(AROUND * min(size)), round(cell), 1)

    def start(middle: float, most: int) -> int:
        return round(min(max(middle - side / 2, 0), most - side))

    left, top = start((place % across + 0.5) * cell, width), start((place // across + 0.5) * cell, height)
    return left, top, left + side, top + side

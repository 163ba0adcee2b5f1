"""Pictures that look alike: copies, the nearest ones, and those whose caption is unlike the captions of the nearest.

Looks are the signatures of `training.data.duplicates`: 16×16 cells of average colour. They know composition and colours,
not things, so what is found here is a hint to look, not a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.caption_analysis.tag_index import TagIndex

if TYPE_CHECKING:
    import numpy as np

NEAREST = 4
"""Pictures that each picture's caption is compared with."""
FEWEST = 12
"""Fewest pictures whose captions are compared with those of their neighbours."""
UNLIKE = 0.4
"""A caption is unlike its neighbours' if they share this many times what neighbours share in the middle, at most."""
BLOCK = 512
"""Pictures whose distances are computed at once."""


@dataclass(frozen=True)
class UnlikeNeighbours:
    """A picture whose caption shares little with those of the pictures that look most like it, by their indices.

    `shared` is the mean weighted share of common tags (0 to 1).
    """

    place: int
    neighbours: tuple[int, ...]
    shared: float


def looks(signatures: Sequence[bytes]) -> np.ndarray:
    """Return the signatures as vectors (n, 192) in float32: 8×8 cells of colour, in levels of 255."""
    import numpy as np

    cells = np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, 8, 2, 8, 2, 3)
    return cells.astype(np.float32).mean(axis=(2, 4)).reshape(len(signatures), -1)


def nearest(vectors: np.ndarray, place: int, most: int) -> list[tuple[int, float]]:
    """Return the pictures most like one, without itself, and how far they are (root mean square, in levels of 255)."""
    import numpy as np

    far = np.sqrt(((vectors - vectors[place]) ** 2).mean(axis=1))
    order = [int(each) for each in np.argsort(far, kind="stable") if each != place]
    return [(each, float(far[each])) for each in order[:most]]


def unlike_neighbours(index: TagIndex, signatures: Mapping[int, bytes]) -> list[UnlikeNeighbours]:
    """Return the captions unlike those of the pictures that look most like theirs, the least alike first.

    `signatures` has those of the captions' pictures that were looked at, by the captions' places.
    """
    places = [place for place, signature in signatures.items() if signature and index.tags[place]]
    if len(places) < FEWEST:
        return []
    nearby = _nearest_of_all(looks([signatures[place] for place in places]))
    near_places = {place: tuple(places[each] for each in near) for place, near in zip(places, nearby, strict=True)}
    found = [UnlikeNeighbours(place, near, _mean_share(index, place, near)) for place, near in near_places.items()]
    middle = sorted(each.shared for each in found)[len(found) // 2]
    odd = [each for each in found if each.shared < UNLIKE * middle]
    return sorted(odd, key=lambda each: (each.shared, each.place))


def _mean_share(index: TagIndex, place: int, near: Sequence[int]) -> float:
    shares = [_shared({*index.tags[place]}, {*index.tags[each]}, index) for each in near]
    return round(sum(shares) / len(shares), 4)


def _shared(one: set[str], other: set[str], index: TagIndex) -> float:
    """Return the Jaccard index of two sets of tags, weighted: a tag of all captions counts nothing, a rare one 1."""

    def weight(tags: set[str]) -> float:
        return sum(1 - (index.count(tag) - 1) / index.said for tag in tags)

    either = weight(one | other)
    return weight(one & other) / either if either else 1.0


def _nearest_of_all(vectors: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Yield the nearest pictures of each, the nearest first."""
    import numpy as np

    squares = (vectors**2).sum(axis=1)
    most = min(NEAREST, len(vectors) - 1)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        far = squares[None] - 2 * block @ vectors.T  # the distance, but for what is the same in a row
        far[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        few = np.argpartition(far, most - 1, axis=1)[:, :most]
        for row, some in enumerate(few):
            yield tuple(int(each) for each in some[np.argsort(far[row, some], kind="stable")])

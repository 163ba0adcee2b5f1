"""More views of a few pictures, so that the measures have something to learn from: crops, and mirrored ones.

What a measure learns of a subject it learns from what its pictures share and how they vary. One picture has no variation;
its crops move and scale what it shows, as augmentation does in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST = 3
"""With fewer pictures measures cannot be fitted (`measures.parts`, `measures.copies`)."""
CAPTIONED = 8
"""So many of the base's pictures tell what it paints of the true pictures' captions, where these are few."""
SCALE = 0.85
"""The side of a crop, as a share of the picture's."""
PLACES = ((0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0))
"""Where crops lie in what is left of the picture."""


def views(pictures: Sequence[Image]) -> list[Image]:
    """Return the pictures, and where they are fewer than `LEAST` also their crops and all of these mirrored: 12 of one.

    A view has the size of its picture.
    """
    from PIL import ImageOps

    if len(pictures) >= LEAST:
        return list(pictures)
    upright = [view for picture in pictures for view in (picture, *_crops(picture))]
    return [*upright, *map(ImageOps.mirror, upright)]


def _crops(picture: Image) -> list[Image]:
    from PIL.Image import Resampling

    wide, high = picture.size
    found = []
    for along, down in PLACES:
        left, top = along * (1 - SCALE) * wide, down * (1 - SCALE) * high
        box = (left, top, left + SCALE * wide, top + SCALE * high)
        found.append(picture.resize(picture.size, Resampling.LANCZOS, box=box))
    return found

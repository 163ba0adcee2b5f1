"""A picture of what the measure `parts` takes for the subject: the places of the training pictures nearest to its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judging.grids import BASE, Bench, Machine
from lorapipe.drawing.sheet import FAINT, Sheet
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.k_means import squares
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.measures.parts import Parts
from lorapipe.pipeline.context import ModelCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

GROUPS, PLACES = 8, 6
"""Rows, the heaviest groups first, and places in each."""
AROUND, SIDE, GAP, SIZE = 10, 64, 4, 12
"""Pixels shown around a place; pixels of a picture, between pictures, and of texts."""


def parts_found(bench: Bench, pictures: Sequence[Image]) -> Image:
    """The heaviest groups of a training, each with its share of the weight and the places that are nearest to it."""
    read, images = FeatureReader(Machine("cpu", ModelCache()).model), bench.images
    training, base = read.training(pictures), read(images.pictures(BASE))
    captions = [each.caption for each in bench.manifest.training]
    parts = Parts.fit(Reference(training, captions, base, images.prompts, images.prompt_of))
    assert parts is not None and parts.small is not None
    sized = ((parts.large, training.patches), (parts.small, training.fine))
    groups = [
        (weight, levels[0].centres[place], levels[1])
        for levels in sized
        for place, weight in enumerate(levels[0].weight)
    ]
    whole, sheet = sum(weight for weight, _, _ in groups), Sheet()
    heaviest = sorted(groups, key=lambda group: -group[0])[:GROUPS]
    for row, (weight, centre, places) in enumerate(heaviest):
        top = GAP + row * (SIDE + GAP)
        sheet.text(GAP, top + SIDE // 2 - SIZE, f"{weight / whole:.0%}", SIZE, FAINT)
        distances = [squares(each, centre[None])[:, 0] for each in places]
        for column, picture in enumerate(np.argsort([each.min() for each in distances])[:PLACES]):
            shown = _around(pictures[picture], int(distances[picture].argmin()), len(places[picture]))
            sheet.picture(50 + column * (SIDE + GAP), top, shown, SIDE / shown.width)
    return sheet.drawn((50 + PLACES * (SIDE + GAP), GAP + len(heaviest) * (SIDE + GAP)))


def _around(picture: Image, place: int, places: int) -> Image:
    """The place, of so many in a square picture, with what is around it."""
    across = round(places**0.5)
    size = picture.width // across
    left, top = place % across * size, place // across * size
    return picture.crop((left - AROUND, top - AROUND, left + size + AROUND, top + size + AROUND))

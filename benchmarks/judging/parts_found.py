"""A picture of what the measure `parts` takes for the subject: the places of the training pictures nearest to its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.judging.grids import BASE, Bench, Machine
from lorapipe.drawing.sheet import FAINT, Sheet
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.measures.parts import Parts
from lorapipe.evaluation.subject_parts import subject_parts
from lorapipe.pipeline.context import ModelCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

GROUPS, PLACES = 8, 6
"""Rows, the heaviest groups first, and places in each."""
SIDE, GAP, LEFT, SIZE = 64, 4, 50, 12
"""Pixels of a picture, between pictures, beside all, and of texts."""


def parts_found(bench: Bench, pictures: Sequence[Image]) -> Image:
    """The heaviest groups of a training, each with its share of the weight and the places that are nearest to it."""
    read, images = FeatureReader(Machine("cpu", ModelCache()).model), bench.images
    training, base = read.training(pictures), read(images.pictures(BASE))
    captions = [each.caption for each in bench.manifest.training]
    parts = Parts.fit(Reference(training, captions, base, images.prompts, images.prompt_of))
    assert parts is not None
    sheet, found = Sheet(), subject_parts(parts, training, GROUPS, PLACES)
    for row, part in enumerate(found):
        top = GAP + row * (SIDE + GAP)
        sheet.text(GAP, top + SIDE // 2 - SIZE, f"{part.share:.0%}", SIZE, FAINT)
        for column, place in enumerate(part.pictures(pictures)):
            sheet.picture(LEFT + column * (SIDE + GAP), top, place, SIDE / place.width)
    return sheet.drawn((LEFT + PLACES * (SIDE + GAP), GAP + len(found) * (SIDE + GAP)))

"""What the base sees in the pictures of a grid, each picture read once, however often more pictures are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lorapipe.evaluation.features import FeatureReader, Seen

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.features import Array
    from lorapipe.evaluation.grid_plan import Cell
    from lorapipe.evaluation.image_store import ImageStore


class _Features(NamedTuple):
    """An entry of each field of `Seen` but the picture itself."""

    latents: Array
    patches: Array
    fine: Array
    grams: Array
    looks: Array


@dataclass
class FeatureCache:
    """Reads the features of pictures in files, and keeps them if `kept`: about 0.6 MB a picture of 512 × 512.

    They are kept where more pictures of the same cells may be wanted. No adapter may be in the model.
    """

    read: FeatureReader
    kept: bool = False
    _known: dict[Path, _Features] = field(default_factory=dict)
    _training: Seen | None = None

    def training(self, pictures: Sequence[Image]) -> Seen:
        """What is seen in the training pictures, which are the same each time."""
        if self._training is None:
            self._training = self.read.training(pictures)
        return self._training

    def __call__(self, images: ImageStore, cell: Cell) -> Seen:
        """What is seen in a cell's pictures, in the order of the slots of `images`."""
        paths = [images.path(cell, slot) for slot in images.slots]
        pictures = images.pictures(cell)
        new = [place for place, path in enumerate(paths) if path not in self._known]
        seen = self.read([pictures[place] for place in new])
        rows = zip(seen.latents, seen.patches, seen.fine, seen.grams, seen.looks, strict=True)
        found = {paths[place]: _Features(*row) for place, row in zip(new, rows, strict=True)}
        if self.kept:
            self._known |= found
        every = [found.get(path) or self._known[path] for path in paths]
        return Seen(pictures, *([row[field] for row in every] for field in range(5)))

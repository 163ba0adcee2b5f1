"""The bundled tagger of the pocket world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe import pocket
from lorapipe.captioning.taggers import Tagger
from lorapipe.spec import param

if TYPE_CHECKING:
    from lorapipe.captioning.taggers import LoadedTagger


@dataclass(frozen=True)
class PocketTags(Tagger):
    """The small tagger that comes with lorapipe: it knows the pocket base's drawn world, and needs nothing else."""

    threshold: float = param(0.5, "least probability of a tag", ge=0, le=1)

    def files(self) -> Iterator[Path]:
        yield pocket.TAGGER

    def load(self, device: str) -> LoadedTagger:
        from lorapipe.captioning.taggers._wd14_model import Thresholds, Wd14Model

        return Wd14Model(pocket.TAGGER, device, Thresholds(self.threshold, 1.0, spaces=True))

"""What a prepare stage's folder tells before a run, read once: every training on it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.picture_files import Contents
    from lorapipe.training.data.captions import Caption
    from lorapipe.training.data.forecast import Forecast


@dataclass(frozen=True)
class FolderFacts:
    """A folder's files, the forecast of the dataset, the caption of each picture, and the resolution that is trained."""

    contents: Contents
    forecast: Forecast
    captions: tuple[Caption, ...]
    resolution: tuple[int, int]

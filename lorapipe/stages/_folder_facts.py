"""What a prepare stage's folder tells before a run, read once: every training on it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lorapipe.picture_files import Contents
    from lorapipe.stages.prepare import Prepare
    from lorapipe.training.data.captions import Caption
    from lorapipe.training.data.forecast import Forecast


@dataclass(frozen=True)
class FolderFacts:
    """A folder's files, the forecast of the dataset, the caption of each picture, and the resolution that is trained."""

    contents: Contents
    forecast: Forecast
    captions: tuple[Caption, ...]
    resolution: tuple[int, int]

    @classmethod
    def read(cls, prepare: Prepare) -> Self:
        """Read names, captions and headers of pictures. Raises `InputError` or `OSError` if the folder cannot be read."""
        from lorapipe.training.data.captions import CaptionFiles

        contents = prepare.folder.contents()
        files = CaptionFiles(prepare.images.path, contents.captions, prepare.caption_lines)
        captions = tuple(files.of(picture, prepare.class_word) for picture in contents.pictures)
        return cls(contents, prepare.forecast(), captions, prepare.buckets().resolution)

"""Taggers in the WD14 layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.captioning.taggers import Tagger
from lorapipe.captioning.taggers._wd14_folder import folder_problems
from lorapipe.errors import Problem
from lorapipe.spec import Source, param

if TYPE_CHECKING:
    from lorapipe.captioning.taggers import LoadedTagger


@dataclass(frozen=True)
class Wd14(Tagger):
    """An ONNX tagger in the layout of the WD14 taggers, which most taggers of booru tags have; needs onnxruntime."""

    search_words: ClassVar[tuple[str, ...]] = ("interrogator", "booru tags", "danbooru", "waifu diffusion tagger")

    folder: Source = param(help="the folder with model.onnx and selected_tags.csv", shelf="taggers")
    threshold: float = param(
        0.35, "least probability of a tag; fewer wrong tags, and fewer right ones, if higher", ge=0, le=1
    )
    character_threshold: float = param(0.85, "least probability of a character's name; 1 leaves them out", ge=0, le=1)
    spaces: bool = param(True, "write tags with spaces for underscores, except faces such as o_o")
    channels: Literal["auto", "bgr", "rgb"] = param(
        "auto",
        "order of the colour channels; auto: what the model's metadata says (channel_order), else bgr, as WD14's",
        rare=True,
    )

    def problems(self) -> Iterator[Problem]:
        if isinstance(self.folder, Source):
            yield from (
                Problem(each.what, cure=each.cure, path=("folder",)) for each in folder_problems(self.folder.path)
            )

    def files(self) -> Iterator[Path]:
        yield self.folder.path

    def load(self, device: str) -> LoadedTagger:
        from lorapipe.captioning.taggers._wd14_model import Thresholds, Wd14Model

        thresholds = Thresholds(self.threshold, self.character_threshold, self.spaces)
        return Wd14Model(self.folder.path, device, thresholds, self.channels)

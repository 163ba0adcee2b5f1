"""The settings of `lorapipe tags`: how captions are read, and what they are held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorapipe.caption_analysis.analysis import MAX_TOKENS
from lorapipe.errors import Problem
from lorapipe.spec import Spec, param

FEW_PICTURES = 500
"""Up to this number the pictures are looked at, too, unless it is forbidden."""


@dataclass(frozen=True)
class TagSettings(Spec):
    """How captions are read, and what they are held against."""

    trigger: str = param("", "the trigger word; empty: the first tag that nearly all captions have")
    max_tokens: int = param(MAX_TOKENS, "tokens of a caption that are read, as in the training", ge=1, le=10_000)
    separator: str = param(",", "what separates tags")
    pictures: Literal["auto", "yes", "no"] = param(
        "auto", f"whether pictures that look alike are compared, too; auto: of at most {FEW_PICTURES} pictures"
    )

    tagged: Path | None = param(None, "a folder of a tagger's captions, such as the output of a caption stage")
    resolution: int = param(512, "training size in pixels, for the editor's buckets", ge=64, le=8192)

    def problems(self) -> Iterator[Problem]:
        if not self.separator.strip():
            yield Problem("is empty.", cure="Name what separates tags, such as a comma.", path=("separator",))
        if self.tagged is not None and not self.tagged.is_dir():
            yield Problem(f"{self.tagged} is no folder.", cure="Name a folder of caption files.", path=("tagged",))

    def looks(self, count: int) -> bool:
        """Whether this number of pictures is looked at."""
        return count <= FEW_PICTURES if self.pictures == "auto" else self.pictures == "yes"

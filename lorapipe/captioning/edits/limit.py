"""Limit the number of tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags
from lorapipe.spec import param


@dataclass(frozen=True)
class Limit(Edit):
    """Keep the first tags of each caption, and drop the others."""

    tags: int = param(help="the most tags of a caption; 75 tokens are about 25 tags", ge=1, le=10_000)

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        return [tags[: self.tags] for tags in captions]

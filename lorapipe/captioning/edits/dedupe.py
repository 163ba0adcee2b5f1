"""Remove repetitions of tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, tag_key


@dataclass(frozen=True)
class Dedupe(Edit):
    """Keep only the first of equal tags in a caption; case and underscores do not count."""

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        return [tuple({tag_key(tag): tag for tag in reversed(tags)}.values())[::-1] for tags in captions]

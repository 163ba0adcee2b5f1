"""Keep the tags of a list, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits._tag_patterns import TagPatterns
from lorapipe.captioning.tags import Tags


@dataclass(frozen=True)
class KeepOnly(TagPatterns):
    """Keep only the tags of a list, which may have wildcards and be in a file."""

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        return [tuple(tag for tag in tags if self.matches(tag)) for tags in captions]

"""Remove the tags of a list with wildcards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits._tag_patterns import TagPatterns
from lorapipe.captioning.tags import Tags


@dataclass(frozen=True)
class Blacklist(TagPatterns):
    """Remove all tags of a list, which may have wildcards and be in a file: what a tagger says and no one wants."""

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        return [tuple(tag for tag in tags if not self.matches(tag)) for tags in captions]

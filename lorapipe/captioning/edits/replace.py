"""Replace tags by others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, tag_key, tags_of
from lorapipe.spec import param


@dataclass(frozen=True)
class Replace(Edit):
    """Replace tags by others, each in its place. What replaces a tag is not replaced again."""

    tags: dict[str, str] = param(help="tag: what replaces it; several tags with commas, or nothing: {kitty: cat}")

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        instead = {tag_key(old): (*tags_of(new),) for old, new in self.tags.items()}
        return [tuple(new for tag in tags for new in instead.get(tag_key(tag), (tag,))) for tags in captions]

"""Remove tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, tag_key, tag_keys
from lorapipe.spec import param


@dataclass(frozen=True)
class Remove(Edit):
    """Remove these tags from all captions; see blacklist for patterns and long lists."""

    tags: tuple[str, ...] = param(help="the tags", min_items=1)

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        unwanted = tag_keys(self.tags)
        return [tuple(tag for tag in tags if tag_key(tag) not in unwanted) for tags in captions]

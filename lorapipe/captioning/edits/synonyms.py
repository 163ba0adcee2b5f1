"""Merge synonyms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, tag_key
from lorapipe.spec import param


@dataclass(frozen=True)
class Synonyms(Edit):
    """Merge words for the same thing into one tag, which then stands once in a caption, at the first one's place."""

    tags: dict[str, tuple[str, ...]] = param(
        help="the tag to keep: the words for the same: {smile: [smiling, happy face]}"
    )

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        kept = {tag_key(word): tag for tag, words in self.tags.items() for word in (tag, *words)}
        return [self._merged(tags, kept) for tags in captions]

    def _merged(self, tags: Tags, kept: dict[str, str]) -> Tags:
        found = list[str]()
        for tag in tags:
            merged = kept.get(tag_key(tag), tag)
            if not (merged in self.tags and merged in found):
                found.append(merged)
        return tuple(found)

"""Add tags, also only where other tags are or are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, tag_key, tag_keys
from lorapipe.spec import param


@dataclass(frozen=True)
class Add(Edit):
    """Add tags to captions that lack them: to all, or where other tags are or are not."""

    tags: tuple[str, ...] = param(help="the tags to add", min_items=1)
    where: tuple[str, ...] = param((), "only to captions that have all of these tags")
    unless: tuple[str, ...] = param((), "only to captions that have none of these tags")
    at: Literal["start", "end"] = param("end", "where in the caption they are added")

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        needed, excluded = tag_keys(self.where), tag_keys(self.unless)
        return [self._with(tags, needed, excluded) for tags in captions]

    def _with(self, tags: Tags, needed: frozenset[str], excluded: frozenset[str]) -> Tags:
        there = tag_keys(tags)
        if not needed <= there or excluded & there:
            return tags
        new = tuple(tag for tag in self.tags if tag_key(tag) not in there)
        return (*new, *tags) if self.at == "start" else (*tags, *new)

"""Sort tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tag_counts import tag_counts
from lorapipe.captioning.tags import Tags, tag_key
from lorapipe.spec import param


@dataclass(frozen=True)
class Sort(Edit):
    """Sort the tags of captions: those first that most captions have, or by name."""

    by: Literal["frequency", "name"] = param("frequency", "frequency: the most frequent first, then by name; or name")
    keep: int = param(0, "number of tags at the beginning that stay in place: 1 for a trigger word", ge=0, le=1000)

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        counts = tag_counts(captions) if self.by == "frequency" else {}

        def order(tag: str) -> tuple[int, str]:
            key = tag_key(tag)
            return -counts.get(key, 0), key

        return [(*tags[: self.keep], *sorted(tags[self.keep :], key=order)) for tags in captions]

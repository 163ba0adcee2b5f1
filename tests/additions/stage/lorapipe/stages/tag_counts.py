"""`tag_counts`: how often each tag occurs in a dataset's captions, as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.pipeline.artifacts import Artifact, Dataset, File
from lorapipe.pipeline.context import Context
from lorapipe.spec import param
from lorapipe.stages import Stage


@dataclass(frozen=True)
class TagCounts(Stage):
    """Count the tags of a dataset's captions, most frequent first, and write them as a table of tab-separated values."""

    makes: ClassVar[type[Artifact]] = File

    dataset: Dataset = param(help="whose captions to count: a prepare stage")
    separator: str = param(",", "what stands between tags")
    least: int = param(1, "leave out tags that occur less often than this", ge=1)

    def run(self, context: Context) -> File:
        from lorapipe.training.data.manifest import Manifest

        captions = [picture.caption for picture in Manifest.load(self.dataset.manifest).pictures]
        tags = Counter(tag.strip() for caption in captions for tag in caption.split(self.separator) if tag.strip())
        rows = [f"{tag}\t{count}" for tag, count in tags.most_common() if count >= self.least]
        table = context.out / "tags.tsv"
        table.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        return File(table)

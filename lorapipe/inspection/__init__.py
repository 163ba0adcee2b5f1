"""Inspection of a file of tensors: its kind and contents, and how other programs read it (`lorapipe inspect`).

Headers and NumPy are enough for the report; only the comparison of ΔW imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.inspection.readers import Reader

if TYPE_CHECKING:
    from lorapipe.inspection._comparison import Reading
    from lorapipe.inspection._report import FileReport
    from lorapipe.inspection.training_pipeline import TrainingPipeline


@dataclass(frozen=True)
class Inspection:
    """A file's report, and how other programs read the file."""

    report: FileReport
    readings: Sequence[Reading] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether the file has no problems."""
        return not self.report.problems

    def as_data(self) -> dict[str, object]:
        """Return JSON types: the report's fields, and a list `readers` if any were requested."""
        readers = {"readers": [reading.as_data() for reading in self.readings]} if self.readings else {}
        return {**self.report.as_data(), **readers}

    def as_pipeline(self) -> TrainingPipeline:
        """Return the pipeline that would train the file. `InputError` if it is not an adapter or an embedding."""
        from lorapipe.inspection.training_pipeline import FileFacts, pipeline_of

        if self.report.kind == "other":
            what = f"is {self.report.what}, which no pipeline here trains."
            raise InputError(what, where=self.report.file, cure="Name a LoRA's or an embedding's file.")
        return pipeline_of(self.metadata, FileFacts.of_report(self.report))

    def as_text(self) -> str:
        """Return the report as a table."""
        from lorapipe.inspection import _text

        return "\n".join(_text.lines(self.report, self.readings))


def inspect(path: Path, readers: Sequence[str] = ()) -> Inspection:
    """Inspect a file, and compare how `readers` (registered names) read it.

    `InputError`, with the path and if possible the key, if the file cannot be read. Problems of a readable file are in the
    report. `readers` are used only for adapters and embeddings without problems.
    """
    from lorapipe.inspection import _report

    known = [Reader.registry.get(name) for name in readers]
    found = _report.inspected(path)
    if not known or found.report.kind == "other" or found.report.problems:
        return Inspection(found.report, metadata=found.file.stored.metadata)
    from lorapipe.inspection._comparison import readings

    return Inspection(found.report, readings(found, readers), found.file.stored.metadata)

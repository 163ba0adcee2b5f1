"""What a file of tensors is, and what other programs make of it (`lorapipe inspect`).

Headers and NumPy tell what it is; only what compares ΔW imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.inspection.readers import Reader

if TYPE_CHECKING:
    from lorapipe.inspection._comparison import Reading
    from lorapipe.inspection._report import FileReport


@dataclass(frozen=True)
class Inspection:
    """A file's report, and what readers make of it."""

    report: FileReport
    readings: Sequence[Reading] = ()

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong with the file."""
        return not self.report.problems

    def as_data(self) -> dict[str, object]:
        """For JSON: the report's fields, and `readers`, a list, where any were asked for."""
        readers = {"readers": [reading.as_data() for reading in self.readings]} if self.readings else {}
        return {**self.report.as_data(), **readers}

    def as_text(self) -> str:
        """For a person: a table."""
        from lorapipe.inspection import _text

        return "\n".join(_text.lines(self.report, self.readings))


def inspect(path: Path, readers: Sequence[str] = ()) -> Inspection:
    """What a file is, and what each reader makes of it, by registered names.

    `InputError` where it cannot be read at all, with the path and where it can be told the key; what is wrong with a file
    that can be read is in the report. `readers` are asked only of adapters and embeddings with nothing wrong.
    """
    from lorapipe.inspection import _report

    known = [Reader.registry.get(name) for name in readers]
    found = _report.inspected(path)
    if not known or found.report.kind == "other" or found.report.problems:
        return Inspection(found.report)
    from lorapipe.inspection._comparison import readings

    return Inspection(found.report, readings(found, readers))

"""Import of other trainers' configurations: kohya's scripts, TOML and metadata, OneTrainer's and ai-toolkit's files.

A reader (`readers/`) turns a file into options under kohya's names, with their lines. `mapping/` translates them to a
pipeline, and says of each key what became of it. Nothing is executed, and nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.config_import.report import Report


@dataclass(frozen=True)
class Imported:
    """A pipeline as YAML, and the report of its import."""

    pipeline: str
    report: Report


def import_files(paths: Sequence[Path], target: Path) -> Imported:
    """Return the pipeline of a training, for a file in the folder `target`.

    Several files are one training: a script with the files that it names. `InputError` where a file is no configuration,
    with what it is instead.
    """
    from lorapipe.config_import.translation import imported

    return imported(paths, target)

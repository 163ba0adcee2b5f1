"""Snapshots: files of the adapter after some steps, which other programs load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorapipe import formats
from lorapipe.formats import Format
from lorapipe.metadata import kohya_metadata
from lorapipe.models import Model
from lorapipe.training.adapters import Attached
from lorapipe.training.data_loader import TrainingLength
from lorapipe.training_record import TrainingRecord


def file_name(step: int) -> str:
    """Return a snapshot's path below the resume and result folders; names sort by step."""
    return f"snapshots/step-{step:06d}.safetensors"


@dataclass(frozen=True)
class SnapshotWriter:
    """Writes the adapter of a training to a file in a format and a precision, with metadata."""

    adapter: Attached
    model: Model
    record: TrainingRecord
    length: TrainingLength
    folder: Path
    format: Format
    dtype: str = "fp32"

    def write(self, step: int) -> Path:
        """Write the snapshot after `step`, and return its path."""
        learned, epoch = self.adapter.snapshot(self.dtype), self.length.epoch(step)
        metadata = kohya_metadata(self.record, "", step, epoch, "none", learned.algorithms)
        path = self.folder / file_name(step)
        formats.save(
            learned, self.model.kohya_names(), path, self.format, dtype=self.dtype, metadata=lambda tensors: metadata
        )
        return path

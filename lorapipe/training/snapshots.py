"""Snapshots: the adapter as it is, as files that other programs load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorapipe import formats
from lorapipe.formats.kohya import Kohya
from lorapipe.metadata import kohya_metadata
from lorapipe.models import Model
from lorapipe.training.adapters import Attached
from lorapipe.training.data_loader import TrainingLength
from lorapipe.training_record import TrainingRecord


def file_name(step: int) -> str:
    """A snapshot's path in the resume and result folders; sorted by name is sorted by step."""
    return f"snapshots/step-{step:06d}.safetensors"


@dataclass(frozen=True)
class SnapshotWriter:
    """Writes the adapter of a training as a file that other programs load: kohya's keys, fp32, and the metadata."""

    adapter: Attached
    model: Model
    record: TrainingRecord
    length: TrainingLength
    folder: Path

    def write(self, step: int) -> Path:
        """The snapshot after `step`."""
        learned, epoch = self.adapter.learned(), self.length.epoch(step)
        metadata = kohya_metadata(self.record, "", step, epoch, "none", learned.algorithms)
        path = self.folder / file_name(step)
        formats.save(learned, self.model.kohya_names(), path, Kohya(), metadata=lambda tensors: metadata)
        return path

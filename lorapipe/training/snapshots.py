"""Snapshots: the adapter as it is, as files that other programs load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from lorapipe.atomic import write_bytes
from lorapipe.formats.kohya import Kohya
from lorapipe.metadata import kohya_metadata
from lorapipe.training.adapters import Attached
from lorapipe.training.data_loader import TrainingLength
from lorapipe.training.families import Model
from lorapipe.training_record import TrainingRecord


def write(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write a safetensors file aside and rename it. The same tensors and metadata are the same bytes.

    A folder in its place makes way.
    """
    if path.is_dir():
        shutil.rmtree(path)
    write_bytes(serialize(tensors, metadata), path)


def serialize(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file. The library orders metadata by chance, anew in each process; here it is sorted."""
    from safetensors.torch import save

    plain = save(dict(tensors))
    end = 8 + int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(plain[8:end])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8
    return len(text).to_bytes(8, "little") + text + plain[end:]


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
        tensors = Kohya().save(self.adapter.learned(), self.model.kohya_names())
        metadata = kohya_metadata(self.record, "", step, self.length.epoch(step), "none")
        path = self.folder / file_name(step)
        write(tensors, metadata, path)
        return path

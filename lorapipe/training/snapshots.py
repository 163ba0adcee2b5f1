"""Snapshots: the adapter as it is, as files that other programs load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch


def write(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write a safetensors file aside and rename it. The same tensors and metadata are the same bytes."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_bytes(save(dict(sorted(tensors.items())), dict(sorted(metadata.items()))))
    aside.replace(path)


def publish(source: Path, target: Path) -> None:
    """Make a file or folder appear at `target` as well. What is only read from now on needs no second copy on the disk."""
    if source.is_dir():
        for inner in sorted(source.iterdir()):
            publish(inner, target / inner.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)

"""Snapshots: the adapter as it is, as files that other programs load."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from lorapipe.atomic import PART_SUFFIX, write_bytes


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


def publish(source: Path, target: Path) -> None:
    """Make a file or folder appear at `target` as well; what is only read from now on needs no second copy.

    What a killed process left unfinished in a folder stays behind.
    """
    if source.is_dir():
        for inner in sorted(source.iterdir()):
            if inner.suffix != PART_SUFFIX:
                publish(inner, target / inner.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)

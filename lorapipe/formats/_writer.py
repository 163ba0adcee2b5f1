"""Writes an adapter's tensors into its file or folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from lorapipe.atomic import write_bytes, write_text
from lorapipe.formats._key_scheme import KeyScheme
from lorapipe.formats._weights import Stored
from lorapipe.formats.algorithms import Algorithm
from lorapipe.models._weight_files import torch_dtype

Metadata = Callable[[Mapping[str, torch.Tensor]], Mapping[str, str]]


def write(files: Mapping[str, Stored], path: Path, format: KeyScheme, dtype: str, metadata: Metadata | None) -> None:
    """Write one file (named `""`) to `path`, or several into the folder `path`.

    A folder where a file should be is replaced.
    """
    for name, stored in files.items():
        file = path / name if name else path
        tensors = _cast(stored.tensors, dtype, stored.precise)
        if file.is_dir():
            shutil.rmtree(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        header = {**stored.metadata, **(metadata(tensors) if metadata else {})}
        write_bytes(format.encode(replace(stored, tensors=tensors, metadata=header)), file)
        for other, text in stored.texts.items():
            write_text(text, file.with_name(other))


def _cast(tensors: Mapping[str, torch.Tensor], dtype: str, exact: Collection[str]) -> dict[str, torch.Tensor]:
    """Cast tensors to the file's dtype. Alphas, which bf16 rounds above 256, `precise` tensors and `exact` stay float32."""
    algorithms = [Algorithm.of(name) for name in Algorithm.registry.names()]
    precise = (".alpha", *(f".{each.keys[short]}" for each in algorithms for short in each.precise))

    def kept(key: str, tensor: torch.Tensor) -> bool:
        return key.endswith(precise) or key in exact or not tensor.is_floating_point()

    return {key: tensor if kept(key, tensor) else tensor.to(torch_dtype(dtype)) for key, tensor in tensors.items()}

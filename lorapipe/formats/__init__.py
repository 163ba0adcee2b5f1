"""File formats of adapters: names of modules and tensors in files, and `AdapterWeights` in memory.

A file combines a format (names) and an algorithm (formulas, `lorapipe.formats.algorithms`); `AdapterWeights` holds the
update of each module. Module names come from the model's table (`Model.kohya_names`), so no format knows a family. `open`
detects a file's formats by its keys, and `save` writes one.

To add a format, create a file here: a `Format` with `split`, `place` and `key`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.formats._conversion import Converted, converted
from lorapipe.formats._hypernetwork import Hypernetwork
from lorapipe.formats._key_scheme import KeyScheme
from lorapipe.formats._weights import EMBEDDING, AdapterWeights, Learned, ModuleWeights, Names, NameTable, Place, Stored
from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "EMBEDDING", "AdapterWeights", "Converted", "Format", "Hypernetwork", "Learned", "ModuleWeights", "NameTable", "Names",
    "Place", "Stored", "all_formats", "complaints", "converted", "open", "save", "serialize",
    "torch_dtype",
]  # fmt: skip


@dataclass(frozen=True)
class Format(KeyScheme, Spec, contract="type"):
    """A registered format; `KeyScheme` is its contract."""

    def load(self, tensors: Mapping[str, Tensor], names: Names) -> AdapterWeights:
        """Read an adapter from tensors of this format alone. `InputError` names a key that fits no module."""
        from lorapipe.formats import _reader

        return _reader.learned(Stored(tensors), names, [self])


def all_formats() -> list[Format]:
    """Return one instance of each registered format, kohya's first."""
    registry = Format.registry
    assert registry is not None
    return [registry.get(name)() for name in sorted(registry.names(), key=lambda name: (name != "kohya", name))]


def open(path: Path, names: Names) -> Learned:
    """Read an adapter's file or folder in any format. `InputError`, with the path, for everything that is wrong."""
    from lorapipe.formats import _reader

    return _reader.load(path, names, all_formats())


def complaints(path: Path) -> Iterator[Problem]:
    """Yield what is wrong with an adapter's file, from its header alone: fast, and without torch."""
    from lorapipe.formats import _reader

    return _reader.complaints(path, all_formats())


def torch_dtype(name: str) -> torch.dtype:
    """Return torch's number type of `fp32`, `fp16` or `bf16`."""
    from lorapipe.models import _weight_files

    return _weight_files.torch_dtype(name)


def serialize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file, deterministically."""
    from lorapipe.formats import _safetensors_file

    return _safetensors_file.serialize(tensors, metadata)


def save(
    weights: Learned,
    names: Names,
    path: Path,
    format: Format,
    *,
    dtype: str = "fp32",
    metadata: Callable[[Mapping[str, Tensor]], Mapping[str, str]] | None = None,
) -> None:
    """Write an adapter's file, or folder, in a format and a dtype (fp32, fp16, bf16).

    `metadata` returns the header of a safetensors file, given its tensors. Equal weights and metadata give equal bytes. For
    fp16, factors are scaled into its range, which leaves ΔW as it is. `InputError` where the format has no place for a
    tensor.
    """
    from lorapipe.formats import _writer

    ready = weights.folded() if format.alphas == "folded" else weights
    files = format.files(ready.balanced() if dtype == "fp16" else ready, names)
    _writer.write(files, path, format, dtype, metadata)

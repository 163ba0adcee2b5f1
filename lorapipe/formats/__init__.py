"""File formats: what modules and tensors are called in adapter files, around one in-memory type.

A file is a format (names) times an algorithm (formulas, `lorapipe.formats.algorithms`). `AdapterWeights` is what both are
read into: an update for each module. Module names come from a table that the model gives (`Model.kohya_names`), so no format
knows a family. `open` finds a file's formats by its keys, and `save` writes one.

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
    from torch import Tensor

__all__ = [
    "EMBEDDING", "AdapterWeights", "Converted", "Format", "Hypernetwork", "Learned", "ModuleWeights", "NameTable", "Names",
    "Place", "Stored", "all_formats", "complaints", "converted", "open", "save", "serialize",
]  # fmt: skip


@dataclass(frozen=True)
class Format(KeyScheme, Spec, contract="type"):
    """What an adapter's file calls modules and their tensors; see `KeyScheme`, which says what a format must give."""

    def load(self, tensors: Mapping[str, Tensor], names: Names) -> AdapterWeights:
        """The adapter in tensors of this format alone; a key that fits no module is an `InputError` that names it."""
        from lorapipe.formats import _reader

        return _reader.learned(Stored(tensors), names, [self])


def all_formats() -> list[Format]:
    """One of each registered format, kohya's first."""
    registry = Format.registry
    assert registry is not None
    return [registry.get(name)() for name in sorted(registry.names(), key=lambda name: (name != "kohya", name))]


def open(path: Path, names: Names) -> Learned:
    """What a file or folder has learnt, whatever its format. `InputError`, with the path, for all that is wrong."""
    from lorapipe.formats import _reader

    return _reader.load(path, names, all_formats())


def complaints(path: Path) -> Iterator[Problem]:
    """What is wrong with an adapter's file, as far as its header tells: light and quick, and without torch."""
    from lorapipe.formats import _reader

    return _reader.complaints(path, all_formats())


def serialize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file: the same for the same tensors and metadata."""
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
    """Write a file, or a folder, in a format and a precision; `metadata` is asked for each safetensors file's header.

    The same weights and metadata are the same bytes. What fp16 could not hold is brought into its range; ΔW is the same.
    """
    from lorapipe.formats import _writer

    ready = weights.folded() if format.alphas == "folded" else weights
    files = format.files(ready.balanced() if dtype == "fp16" else ready, names)
    _writer.write(files, path, format, dtype, metadata)

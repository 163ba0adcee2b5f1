"""Write a checkpoint with changed tensors: a copy of the base's files in which only these tensors differ.

Every other tensor keeps its bytes. A file is written beside its place, read back, and published as a whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lorapipe.atomic import replacing
from lorapipe.errors import InputError, LorapipeError, Problem
from lorapipe.lora_tools.disk_space import require_space
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.lora_tools.publication import unpublished
from lorapipe.lora_tools.weight_file import WeightFile
from lorapipe.models import Checkpoint, Family
from lorapipe.models._checkpoint_writer import copy_settings
from lorapipe.models._safetensors_writer import Entry, name_of, write
from lorapipe.models._weight_files import torch_dtype

Dtype = Literal["own", "fp32", "fp16", "bf16"]
Pieces = Callable[[WeightFile], Iterator[Tensor]]
"""Yields the new values of one tensor, float32, in pieces whose elements follow each other."""


READ = 1 << 20


@dataclass(frozen=True)
class CheckpointOutput:
    """A checkpoint to write: its base, the new values of tensors (file → key → pieces), number type and metadata.

    `metadata` takes the SHA-256 of the tensors' bytes; a folder's files have none of their own.
    """

    base: Family
    changes: Mapping[Path, Mapping[str, Pieces]]
    metadata: Callable[[Mapping[str, str], str], Mapping[str, str]]
    dtype: Dtype = "own"

    @property
    def is_folder(self) -> bool:
        """Whether it is a diffusers folder, as its base is."""
        return self.base.checkpoint.path.is_dir()

    def write(self, target: Path, tell: Tell = silent) -> None:
        """Write the file or folder, read it back, and publish it. `LorapipeError` where that fails."""
        sources = [WeightFile(path) for path in self._files()]
        total = sum(self._size(source, key) for source in sources for key in source.tensors)
        require_space(target, total)
        meter = _Meter(tell, 2 * total)
        if self.is_folder:
            self._folder(target, sources, meter)
            return
        with replacing(target) as part:
            self._file(sources[0], part, meter)
            self._require_base(part, target)

    def _files(self) -> list[Path]:
        """Return the base's files of weights; also those of parts that no change concerns."""
        return sorted({place.file for place in self.base.tensor_places().values()} | self.changes.keys())

    def _folder(self, target: Path, sources: list[WeightFile], meter: _Meter) -> None:
        root = self.base.checkpoint.path
        with unpublished(target) as part:
            part.mkdir()
            copy_settings(root, part)
            _without_safety_checker(part / "model_index.json")
            for source in sources:
                self._file(source, part / _as_safetensors(source.path.relative_to(root)), meter)
                index = source.path.with_name(f"{source.path.name.split('-0')[0]}.safetensors.index.json")
                if index.is_file():
                    shutil.copyfile(index, part / index.relative_to(root))
            self._require_base(part, target)

    # ------------------------------------------------------------------------------------------------------- one file

    def _file(self, source: WeightFile, path: Path, meter: _Meter) -> None:
        """Write one file, and compare its bytes with what was computed."""
        changes = self.changes.get(source.path, {})
        entries = {key: self._entry(source, key, changes.get(key)) for key in source.tensors}
        metadata = partial(self.metadata, source.metadata) if not self.is_folder else lambda digest: {"format": "pt"}
        order = [*source.tensors] if source.is_safetensors else ()
        digest = write(path, entries, metadata, order, meter)
        if (found := _digest(path, meter)) != digest:
            what = f"was not written as it was computed: its tensors have the digest {found[:12]}, not {digest[:12]}."
            raise LorapipeError(what, where=str(path), cure="Check the disk, and try again.")

    def _entry(self, source: WeightFile, key: str, pieces: Pieces | None) -> Entry:
        stored = source.tensors[key]
        dtype = self._dtype(stored.dtype)
        read = partial(source.read, key)
        plain = partial(_plain, source, key)
        changed = None if pieces is None else partial(_checked, source, key, pieces, dtype)
        return Entry(stored.shape, name_of(dtype), read, changed or plain)

    def _dtype(self, own: torch.dtype) -> torch.dtype:
        return own if self.dtype == "own" or not own.is_floating_point else torch_dtype(self.dtype)

    def _size(self, source: WeightFile, key: str) -> int:
        return source.tensors[key].count * self._dtype(source.tensors[key].dtype).itemsize

    def _require_base(self, path: Path, target: Path) -> None:
        """Raise `LorapipeError` unless the written checkpoint is a whole base of the family."""
        read = replace(self.base, checkpoint=Checkpoint(path))
        if problems := [*read.problems()]:
            raise LorapipeError(Problem(f"was not written as a base: {each.what}", str(target)) for each in problems)


def _as_safetensors(path: Path) -> Path:
    """Return the name of a folder's file of weights, as diffusers and transformers look for it."""
    name = path.name.replace("pytorch_model", "model", 1) if path.name.startswith("pytorch_model") else path.name
    return path.with_name(name).with_suffix(".safetensors")


def _without_safety_checker(index: Path) -> None:
    """Take the safety checker, which is not copied, out of a folder's index."""
    found = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    if "safety_checker" in found:
        found["safety_checker"] = [None, None]
        index.write_text(f"{json.dumps(found, indent=2)}\n", encoding="utf-8")


class _Meter:
    """Counts bytes, and tells their share of all."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._tell(self._done, self._total)


def _plain(source: WeightFile, key: str) -> Iterator[Tensor]:
    return (piece for _, piece in source.pieces(key))


def _checked(source: WeightFile, key: str, pieces: Pieces, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yield changed pieces in the file's dtype, rounded once. `InputError` where a number is beyond its range."""
    for piece in pieces(source):
        rounded = piece.to(dtype)
        ends = rounded.aminmax() if rounded.numel() else ()
        if not all(math.isfinite(float(end)) for end in ends):
            what = f"{key} would have numbers that are infinite or none."
            cure = "Lower the strengths; for fp16, which ends at 65504, write dtype: bf16 or fp32."
            raise InputError(what, where=str(source.path), cure=cure)
        yield rounded


def _digest(path: Path, meter: _Meter) -> str:
    """Return the SHA-256 of the tensors' bytes of a safetensors file."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(READ))
    with path.open("rb", buffering=0) as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            meter(count)
    return digest.hexdigest()

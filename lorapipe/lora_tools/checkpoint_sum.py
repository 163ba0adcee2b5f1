"""Sum whole checkpoints: Σ wᵢ · Mᵢ, where the first has what the others leave of 1.

`A B:0.3` is the weighted sum 0.7·A + 0.3·B; `A B:0.8 C:-0.8` is A + 0.8·(B − C), “add difference”, as in A1111's checkpoint
merger. Tensors are those of the first; in float32, rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lorapipe.errors import InputError, Problem
from lorapipe.formats import Place
from lorapipe.lora_tools.checkpoint_output import CheckpointOutput, Dtype, Pieces
from lorapipe.lora_tools.merge_metadata import MergedPart, merged_metadata
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.lora_tools.weight_file import WeightFile
from lorapipe.models import Family, TensorPlace


class WeightedBase(NamedTuple):
    """A checkpoint and its weight in a sum."""

    base: Family
    weight: float


@dataclass(frozen=True)
class _Source:
    """A tensor of a checkpoint, and its weight."""

    file: WeightFile
    place: TensorPlace
    weight: float

    @property
    def height(self) -> int:
        """Rows of the tensor."""
        return self.file.tensors[self.place.key].shape[0] // self.place.slices

    def whole(self) -> Tensor:
        """Return weight · M of the tensor as its part has it."""
        tensor = self.file.at(self.place).float()
        return tensor.T if self.place.is_transposed else tensor

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows of the stored tensor."""
        start = self.place.slice_index * self.height
        return self.file.rows(self.place.key, start + first, start + last)


def first_weight(others: Sequence[float]) -> float:
    """Return the first checkpoint's weight: what the others leave of 1."""
    return 1.0 - sum(others)


def merge_checkpoints(
    first: Family,
    others: Sequence[WeightedBase],
    target: Path,
    *,
    dtype: Dtype = "own",
    title: str = "",
    tell: Tell = silent,
) -> int:
    """Write the weighted sum of checkpoints in the layout of the first, and return the number of summed tensors.

    Tensors of the first that no part has (EMA copies, scales) keep their bytes. `InputError` for other families, and for
    tensors of other shapes.
    """
    own = first_weight([each.weight for each in others])
    found = [WeightedBase(first, own), *others]
    parts = [MergedPart(each.base.checkpoint.path, f"{each.weight:g}") for each in found]
    changes, count = _changes(found)
    metadata = partial(merged_metadata, first, title, "checkpoints", parts)
    CheckpointOutput(first, changes, metadata, dtype).write(target, tell)
    return count


def _changes(found: Sequence[WeightedBase]) -> tuple[dict[Path, dict[str, Pieces]], int]:
    places = [each.base.tensor_places() for each in found]
    files = {place.file: WeightFile(place.file) for each in places for place in each.values()}
    if problems := [*_misfits(found, places, files)]:
        raise InputError(problems)
    by_key: dict[tuple[Path, str], list[Place]] = {}
    for name, place in places[0].items():
        if files[place.file].tensors[place.key].dtype.is_floating_point:
            by_key.setdefault((place.file, place.key), []).append(name)
    changes: dict[Path, dict[str, Pieces]] = {}
    for (file, key), names in by_key.items():
        names.sort(key=lambda name: places[0][name].slice_index)
        sources = [
            [_Source(files[of[name].file], of[name], each.weight) for each, of in zip(found, places, strict=True)]
            for name in names
        ]
        changes.setdefault(file, {})[key] = partial(_pieces, sources)
    return changes, sum(map(len, by_key.values()))


def _misfits(
    found: Sequence[WeightedBase], places: Sequence[Mapping[Place, TensorPlace]], files: Mapping[Path, WeightFile]
) -> Iterator[Problem]:
    """Yield what another checkpoint lacks, and tensors of another size."""
    first = places[0]
    for each, own in zip(found[1:], places[1:], strict=True):
        where = str(each.base.checkpoint.path)
        if each.base.name != found[0].base.name:
            what = f"is {getattr(each.base, 'kind', each.base.name)}, and the first is {found[0].base.name}."
            yield Problem(what, where, "Merge checkpoints of one family.")
            continue
        if missing := sorted(" ".join(name) for name in first.keys() - own.keys()):
            yield Problem(
                f"has no tensor {missing[0]} ({len(missing)} are missing).", where, "Name a whole checkpoint."
            )
        other = [name for name in first.keys() & own.keys() if _count(first[name], files) != _count(own[name], files)]
        if other:
            what = f"has {' '.join(min(other))} in another size than the first ({len(other)} tensors differ)."
            yield Problem(what, where, "Merge checkpoints of one architecture.")


def _count(place: TensorPlace, files: Mapping[Path, WeightFile]) -> int:
    return files[place.file].tensors[place.key].count // place.slices


def _pieces(names: Sequence[Sequence[_Source]], file: WeightFile) -> Iterator[Tensor]:
    """Yield the sum of a stored tensor of the first checkpoint, slice by slice."""
    for sources in names:
        own, *others = sources
        if any(each.place.is_transposed for each in sources) or not file.tensors[own.place.key].shape:
            total = own.whole() * own.weight
            for other in others:
                total += other.whole().reshape(total.shape) * other.weight
            yield total.T.contiguous() if own.place.is_transposed else total
            continue
        start = own.place.slice_index * own.height
        for row, piece in file.pieces(own.place.key, start, start + own.height):
            total = piece.float() * own.weight
            for other in others:
                rows = other.rows(row - start, row - start + piece.shape[0]).float()
                total += rows.reshape(total.shape) * other.weight
            yield total

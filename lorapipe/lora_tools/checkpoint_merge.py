"""Add adapters to a checkpoint: W' = W + Σ strength · ΔW, in float32, rounded once to the file's number type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor

from lorapipe.errors import InputError, Problem
from lorapipe.formats import Place
from lorapipe.lora_tools.checkpoint_output import CheckpointOutput, Dtype, Pieces
from lorapipe.lora_tools.merge_metadata import MergedPart, merged_metadata
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.lora_tools.weight_file import WeightFile
from lorapipe.lora_tools.weighted_adapters import Term, WeightedFile, read_adapters, terms_by_module
from lorapipe.models import Family, TensorPlace

Changes = dict[Path, dict[str, Pieces]]


@dataclass(frozen=True)
class MergeSummary:
    """What a merge did: the number of changed layers, and words (textual inversion) that a checkpoint has no place for."""

    layers: int
    words: tuple[str, ...]


def merge_adapters(
    base: Family,
    files: Sequence[WeightedFile],
    target: Path,
    *,
    dtype: Dtype = "own",
    title: str = "",
    tell: Tell = silent,
) -> MergeSummary:
    """Write the checkpoint of `base` with adapters in it: a file in its layout, or a folder if the base is one.

    An adapter's ΔW that depends on W (DoRA, OFT) is computed from the base's own W, so that the order does not matter.
    `dtype` is the file's number type; own: as in the base, so that unchanged tensors keep their bytes. `InputError` with the
    problems of all adapters; the target appears only when it is whole.
    """
    adapters = read_adapters(files, base, base.module_names())
    parts = [MergedPart(each.path, each.strengths.in_words()) for each in adapters]
    metadata = partial(merged_metadata, base, title, "adapters", parts)
    layers = terms_by_module(adapters, base)
    CheckpointOutput(base, merged_changes(base, layers), metadata, dtype).write(target, tell)
    return MergeSummary(len(layers), tuple(word for adapter in adapters for word in adapter.weights.embeddings))


@dataclass(frozen=True)
class _Sum:
    """The updates of one tensor of a part."""

    place: TensorPlace
    terms: tuple[Term, ...]
    is_bias: bool

    def added(self, values: Tensor) -> Tensor:
        """Return W + Σ strength · ΔW of the whole tensor, in float32; each ΔW is that of the base's own W."""
        own = values.clone() if any(_needs(term, self.is_bias) for term in self.terms) else values
        for term in self.terms:
            if self.is_bias:
                found = term.module.delta_bias(own)
                delta = found if found is not None else values.new_zeros(values.shape)
            else:
                delta = term.module.delta(own if term.module.needs_weight else None)
            values = values.add_(delta.reshape(values.shape).mul(term.strength))
        return values

    def rows_added(self, values: Tensor, first: int) -> Tensor:
        """Return the same of some rows, from `first` on."""
        for term in self.terms:
            rows = term.module.rows(first, first + values.shape[0])
            assert rows is not None
            values = values.add_(rows.delta().reshape(values.shape).mul(term.strength))
        return values

    @property
    def by_rows(self) -> bool:
        """Whether rows can be computed by themselves."""
        return not self.is_bias and all(
            not term.module.needs_weight and term.module.rows(0, 1) is not None for term in self.terms
        )


def _needs(term: Term, is_bias: bool) -> bool:
    return term.module.needs_bias if is_bias else term.module.needs_weight


def merged_changes(base: Family, layers: Mapping[Place, Sequence[Term]]) -> Changes:
    """Return the changed tensors of a base with updates of its modules. `InputError` for modules that its files lack."""
    places = base.tensor_places()
    sums: dict[tuple[Path, str], list[_Sum]] = {}
    missing: dict[str, list[str]] = {}
    for (part, path), kind, terms in _by_tensor(layers):
        stored = places.get((part, f"{path}.{kind}"))
        if stored is not None:
            sums.setdefault((stored.file, stored.key), []).append(_Sum(stored, terms, kind == "bias"))
        elif kind == "weight" or any(term.module.delta_bias() is not None for term in terms):
            missing.setdefault(kind, []).append(f"{part} {path}")  # a bias that follows the weight may be absent
    if missing:
        raise InputError(
            Problem(f"has no {kind} of {len(names)} modules, such as {names[0]}.", str(base.checkpoint.path))
            for kind, names in missing.items()
        )
    found: Changes = {}
    for (file, key), of_key in sums.items():
        found.setdefault(file, {})[key] = partial(_pieces, key, sorted(of_key, key=lambda each: each.place.slice_index))
    return found


def _by_tensor(
    layers: Mapping[Place, Sequence[Term]],
) -> Iterator[tuple[Place, Literal["weight", "bias"], tuple[Term, ...]]]:
    """Yield each changed tensor of a module with its updates, in the order of the adapters."""
    for place, terms in layers.items():
        yield place, "weight", tuple(terms)
        if of_bias := tuple(term for term in terms if _has_bias(term)):
            yield place, "bias", of_bias


def _has_bias(term: Term) -> bool:
    return term.module.needs_bias or term.module.delta_bias() is not None


def _pieces(key: str, sums: Sequence[_Sum], file: WeightFile) -> Iterator[Tensor]:
    """Yield the new values of a stored tensor; the slices of a stacked one in turn, also those without a change."""
    if sums[0].place.is_transposed:
        yield sums[0].added(file.read(key).float().T.contiguous()).T.contiguous()
        return
    by_slice = {each.place.slice_index: each for each in sums}
    shape = file.tensors[key].shape
    slices = sums[0].place.slices
    height = shape[0] // slices
    for number in range(slices):
        start, end = number * height, (number + 1) * height
        found = by_slice.get(number)
        if found is None:
            yield from (piece.float() for _, piece in file.pieces(key, start, end))
        elif found.by_rows:
            for row, piece in file.pieces(key, start, end):
                yield found.rows_added(piece.float(), row - start)
        else:
            whole = file.read(key) if slices == 1 else file.rows(key, start, end)
            yield found.added(whole.float())

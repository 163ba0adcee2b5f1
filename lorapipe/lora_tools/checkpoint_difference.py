"""The difference of two checkpoints of one family, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from lorapipe.errors import InputError, Problem
from lorapipe.lora_tools.checkpoint_tensors import CheckpointTensors, Name
from lorapipe.lora_tools.kept_report import LeftOut
from lorapipe.lora_tools.truncated_svd import energy_of
from lorapipe.models import Family

ROUNDING = {torch.float16: 2**-11, torch.bfloat16: 2**-8}
"""Half a unit in the last place of number types, relative to the value."""
OF_GAUSSIAN = 0.378
"""Root mean square of the rounding error of normal values, as a share of that: √(4/7) / 2, since ulp² / 12 averages over a
binade to x² · 2⁻²ᵖ / 7."""
NORMS, BIASES, LARGE, EMBEDDINGS = "normalisations", "biases", "3×3 convolutions", "embeddings of tokens and positions"


class CheckpointDifference:
    """Tuned minus base. `InputError` with all reasons why two bases cannot be compared."""

    def __init__(self, tuned: Family, base: Family) -> None:
        self.tuned_base, self.base = tuned, base
        if problems := [*_family_problems(tuned, base)]:
            raise InputError(problems)
        self._tuned, self._own = CheckpointTensors(tuned), CheckpointTensors(base)
        self._memory = torch.empty(0)
        if problems := [*self._misfits()]:
            raise InputError(problems)

    def __contains__(self, name: Name) -> bool:
        return name in self._own and name in self._tuned

    @property
    def names(self) -> Iterator[Name]:
        """The tensors that both have."""
        return (name for name in self._own.places if name in self._tuned)

    def shape(self, name: Name) -> tuple[int, ...]:
        """Return the shape of a tensor, as `CheckpointTensors.shape`."""
        return self._own.shape(name)

    def of(self, name: Name) -> Tensor:
        """Return the difference of a tensor, float32, in memory that the next call uses again."""
        shape = self.shape(name)
        count = math.prod(shape)
        if len(self._memory) < count:
            self._memory = torch.empty(0)  # free the old one first
            self._memory = torch.empty(count)
        found = self._memory[:count].view(shape)
        for row, piece in self._tuned.pieces(name):
            found[row : row + len(piece)].copy_(piece)
        for row, piece in self._own.pieces(name):
            found[row : row + len(piece)].sub_(piece)
        return found

    def energy(self, name: Name) -> float:
        """Return ‖difference‖² of a tensor; equal tensors of one number type are only compared."""
        tuned, own = self._tuned, self._own
        if tuned.dtype(name) == own.dtype(name):
            pairs = zip(tuned.pieces(name), own.pieces(name), strict=False)
            if all(_same_bytes(one, other) for (_, one), (_, other) in pairs):
                return 0.0
        if tuned.places[name].is_transposed != own.places[name].is_transposed:
            return energy_of(self.of(name))
        pairs = zip(tuned.pieces(name), own.pieces(name), strict=True)
        return sum(energy_of(one.float().sub_(other)) for (_, one), (_, other) in pairs)

    def rounding(self, name: Name) -> float:
        """Return the standard deviation of the rounding noise in a difference, from the number types of both files."""
        kinds = {self._tuned.dtype(name), self._own.dtype(name)}
        energy = sum(energy_of(piece.float()) for _, piece in self._own.pieces(name))
        mean = energy / max(1, math.prod(self.shape(name)))
        return OF_GAUSSIAN * math.sqrt(mean * sum(ROUNDING.get(kind, 0.0) ** 2 for kind in kinds))

    def left_out(self, held: Collection[Name]) -> list[LeftOut]:
        """Return what differs in tensors that a file does not hold, by kind of tensor."""
        found: dict[str, LeftOut] = {}
        for name in self.names:
            if name in held:
                continue
            kind = self._kind(name)
            energy, before = self.energy(name), found.get(kind, LeftOut(kind, 0, 0, 0.0))
            found[kind] = LeftOut(kind, before.changed + (energy > 0), before.total + 1, before.energy + energy)
        return sorted(found.values(), key=lambda each: -each.energy)

    def _kind(self, name: Name) -> str:
        part, tensor = name
        if part not in self.base.trainable:
            return part.replace("_", " ").upper() if part == "vae" else part.replace("_", " ")
        if "embeddings." in tensor:
            return EMBEDDINGS
        if tensor.endswith(".bias"):
            return BIASES
        return {1: NORMS, 2: "other Linear layers and 1×1 convolutions"}.get(len(self.shape(name)), LARGE)

    def _misfits(self) -> Iterator[Problem]:
        """Yield tensors that only one checkpoint has, or that have other shapes."""
        tuned, own = self._tuned, self._own
        for one, other in ((tuned, own), (own, tuned)):
            missing = [name for name in other.places if name not in one]
            if missing:
                what = f"lacks {len(missing)} tensors of the other, such as {' '.join(missing[0])}."
                yield Problem(what, str(one.base.checkpoint.path), "Copy or download it again.")
        both = [name for name in own.places if name in tuned]
        if odd := [name for name in both if tuned.shape(name) != own.shape(name)]:
            shapes = " and ".join("x".join(map(str, each.shape(odd[0]))) for each in (tuned, own))
            what = f"does not fit the base: {' '.join(odd[0])} is {shapes} ({len(odd)} tensors differ in shape)."
            yield Problem(what, str(tuned.base.checkpoint.path), "Name the base that it was trained from.")


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of one number type have the same bytes; as whole numbers, which is faster."""
    if one.shape != other.shape:
        return False
    first, second = (each.reshape(-1).view(torch.uint8) for each in (one, other))
    wide = len(first) // 8 * 8
    return torch.equal(first[:wide].view(torch.int64), second[:wide].view(torch.int64)) and torch.equal(
        first[wide:], second[wide:]
    )


def _family_problems(tuned: Family, base: Family) -> Iterator[Problem]:
    path, other = tuned.checkpoint.path, base.checkpoint.path
    if type(tuned) is not type(base):
        what = f"is {tuned.kind}, and the base is {base.kind}: they are of different families."
        yield Problem(what, str(path), "Name the base that it was trained from.")
        return
    if path.exists() and other.exists() and path.samefile(other):
        yield Problem(
            "is the base itself: nothing differs.", str(path), "Name the tuned checkpoint first, then its base."
        )
        return
    for each in (tuned, base):
        for problem in each.problems():
            yield Problem(problem.what, str(each.checkpoint.path), problem.cure)

"""Adapters with strengths: for the denoiser, for the text encoders, and for each block of the denoiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lorapipe import formats
from lorapipe.errors import InputError, Problem
from lorapipe.formats import AdapterWeights, ModuleWeights, Names, Place
from lorapipe.inspection import inspect
from lorapipe.models import Family
from lorapipe.models._weight_files import TOP


@dataclass(frozen=True)
class Strengths:
    """Factors on an adapter's ΔW.

    `text_encoder` is the denoiser's where it is None. `blocks` has a further factor for each block of the denoiser, in the
    order of `block_ranks` (`ModuleRef.block`); empty: 1 for all.
    """

    denoiser: float = 1.0
    text_encoder: float | None = None
    blocks: tuple[float, ...] = ()

    def of(self, is_denoiser: bool, block: int | None) -> float:
        """Return the factor of a module; `block` is None outside of the denoiser's blocks."""
        if not is_denoiser:
            return self.denoiser if self.text_encoder is None else self.text_encoder
        return self.denoiser * (self.blocks[block] if self.blocks and block is not None else 1.0)

    def in_words(self) -> str:
        """Return the strengths as the command line writes them: `0.8,text=0.5`."""
        text = "" if self.text_encoder is None else f",text={self.text_encoder:g}"
        return f"{self.denoiser:g}{text}" + (",by block" if self.blocks else "")


class WeightedFile(NamedTuple):
    """An adapter's file and its strengths."""

    path: Path
    strengths: Strengths


@dataclass(frozen=True)
class Term:
    """One module's update in a sum: strength · ΔW."""

    module: ModuleWeights
    strength: float


@dataclass(frozen=True)
class WeightedAdapter:
    """An adapter that has been read, with its strengths."""

    path: Path
    strengths: Strengths
    weights: AdapterWeights

    def terms(self, base: Family) -> Iterator[tuple[Place, Term]]:
        """Yield each module of the base with its update; modules of strength 0 are left out."""
        blocks = block_of(base) if self.strengths.blocks else {}
        for (part, path), module in self.weights.modules.items():
            place = (part, path.removeprefix(TOP))
            if strength := self.strengths.of(base.role(part) == "denoiser", blocks.get(place)):
                yield place, Term(module, strength)


def terms_by_module(adapters: Sequence[WeightedAdapter], base: Family) -> dict[Place, list[Term]]:
    """Return each module of the base with its updates, in the order of the adapters."""
    found: dict[Place, list[Term]] = {}
    for adapter in adapters:
        for place, term in adapter.terms(base):
            found.setdefault(place, []).append(term)
    return found


def block_of(base: Family) -> Mapping[Place, int]:
    """Return place → number of its block, for the modules of the denoiser's blocks."""
    found = base.footprint()
    modules = (
        [*found.modules(base.denoiser), *found.outer_modules(base.denoiser)]
        if found
        else base.load("cpu").modules(base.denoiser)
    )
    return {(base.denoiser, ref.path): ref.block for ref in modules if ref.block is not None}


def block_count(base: Family) -> int:
    """Return the number of the denoiser's blocks."""
    found = base.footprint()
    return found.blocks if found else base.load("cpu").blocks


def read_adapters(files: Sequence[WeightedFile], base: Family, names: Names) -> list[WeightedAdapter]:
    """Read adapters of any format. `InputError` with the problems of all files: damaged, for another base …"""
    found, problems = list[WeightedAdapter](), list[Problem]()
    for file in files:
        try:
            weights = formats.open(file.path, names)
        except InputError as error:
            problems += _explained(file.path, error, base)
            continue
        problems += _without_place(file, weights, base)
        found.append(WeightedAdapter(file.path, file.strengths, weights))
    if problems:
        raise InputError(problems)
    return found


def _without_place(file: WeightedFile, weights: AdapterWeights, base: Family) -> Iterator[Problem]:
    """Yield what cannot be added to weights, and lists of blocks of another length than the base's."""
    if weights.hypernetwork is not None:
        yield Problem("holds a hypernetwork, which is no change of weights.", str(file.path), "Leave it out.")
    elif not weights.modules:
        yield Problem("holds only words (textual inversion), no change of weights.", str(file.path), "Leave it out.")
    given = len(file.strengths.blocks)
    if given and given != (blocks := block_count(base)):
        what = f"has {given} strengths by block, but the base has {blocks} blocks."
        yield Problem(what, str(file.path), "Give one for each block, in the order of block_ranks.")


def _explained(path: Path, error: InputError, base: Family) -> Iterator[Problem]:
    """Yield the problems of a file; if it is an adapter of another family, that alone."""
    try:
        made_for = inspect(path).report.base
    except InputError:
        made_for = ""
    kind = str(getattr(base, "kind", "")).split(" ", 1)[-1].removesuffix(" checkpoint")
    if made_for and kind and made_for.split(".")[0] != kind.split(".")[0]:
        what = f"is made for {made_for}, and the base is {kind}."
        yield Problem(what, str(path), f"Take a base of {made_for}, or a LoRA for {kind}.")
        return
    yield from error.problems

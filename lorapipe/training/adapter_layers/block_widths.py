"""Rank, alpha and learning-rate factor of a module's update, by module kind and by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, Problem

if TYPE_CHECKING:
    from lorapipe.models import ModuleRef

BY_BLOCK = ("block_ranks", "block_alphas", "block_rates", "conv_block_ranks", "conv_block_alphas")
"""Knobs with one number for each block."""


@dataclass(frozen=True)
class Width:
    """Rank and alpha of a module's update."""

    rank: int
    alpha: float

    @classmethod
    def of(cls, rank: int, alpha: float) -> Width:
        """Make a width from knobs, in which an alpha of 0 means the rank."""
        return cls(rank, alpha or float(rank))

    def numbers(self, shape: Sequence[int]) -> int:
        """Count the parameters of LoRA's two matrices for a weight of this shape."""
        return self.rank * (shape[0] + math.prod(shape[1:]))


@dataclass(frozen=True)
class Widths:
    """Ranks and alphas by block; `alpha` where `alphas` is empty. An alpha of 0 means the rank."""

    ranks: Sequence[int]
    alphas: Sequence[float]
    alpha: float

    def at(self, block: int) -> Width:
        """Return the width of one block."""
        rank = self.ranks[block]
        return Width.of(rank, self.alphas[block] if self.alphas else self.alpha)


@dataclass(frozen=True)
class Blocks:
    """Ranks, alphas and learning-rate factors by block of the denoiser.

    `small` is for Linear layers and 1×1 convolutions, `large` for larger convolutions; without ranks all blocks are alike.
    The same as kohya's `block_dims`, `conv_block_dims` and `block_lr` (`networks/lora.py`).
    """

    small: Widths
    large: Widths
    rates: Sequence[float]

    @classmethod
    def of(cls, spec: object, blocks: int) -> Blocks:
        """Read a spec's knobs for a model with this many blocks; `InputError` where a list has another length."""
        lists = {name: getattr(spec, name, ()) for name in BY_BLOCK}
        if problems := [replace(each, where=f"adapter.{each.path[0]}") for each in cls.problems(spec, blocks)]:
            raise InputError(problems)
        small = Widths(lists["block_ranks"], lists["block_alphas"], getattr(spec, "alpha", 0.0))
        large = Widths(lists["conv_block_ranks"], lists["conv_block_alphas"], getattr(spec, "conv_alpha", 0.0))
        return cls(small, large, lists["block_rates"])

    @staticmethod
    def problems(spec: object, blocks: int) -> Iterator[Problem]:
        """Yield the lists of a spec whose length is not the model's number of blocks; paths are knobs of the spec."""
        for name in BY_BLOCK:
            given = getattr(spec, name, ())
            if given and len(given) != blocks:
                what = f"{len(given)} numbers, but the blocks of this base are {blocks}."
                yield Problem(what, cure="Give a number for each.", path=(name,))

    def of_module(self, usual: Width, ref: ModuleRef) -> tuple[Width, float] | None:
        """Return (width, learning-rate factor) of a module's update; None where its block is left out.

        `usual` is the width where all blocks are alike.
        """
        width, rate = self.width(usual, ref.block, ref.pointwise), self.rate(ref.block)
        return (width, rate) if width.rank and rate else None

    def width(self, usual: Width, block: int | None, pointwise: bool) -> Width:
        """Return the width of a module in a block (None: of a text encoder); `usual` where all blocks are alike.

        Larger convolutions without a list of their own keep `usual`, unless their block is left out.
        """
        if block is None:
            return usual
        own = self.small if pointwise else self.large
        if own.ranks:
            return own.at(block)
        left_out = self.small.ranks and not self.small.ranks[block]
        return Width(0, 0.0) if left_out else usual

    def rate(self, block: int | None) -> float:
        """Return the learning-rate factor of a module in a block."""
        return self.rates[block] if self.rates and block is not None else 1.0

"""How wide the update of a module is, and how fast it learns: by its kind, and by its block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, Problem

if TYPE_CHECKING:
    from lorapipe.models import ModuleRef

BY_BLOCK = ("block_ranks", "block_alphas", "block_rates", "conv_block_ranks", "conv_block_alphas")
"""Knobs that have a number for each block."""


@dataclass(frozen=True)
class Width:
    """The rank of a module's update, and its alpha."""

    rank: int
    alpha: float

    @classmethod
    def of(cls, rank: int, alpha: float) -> Width:
        """A rank with an alpha as it is given, where 0 means the rank."""
        return cls(rank, alpha or float(rank))

    def numbers(self, shape: Sequence[int]) -> int:
        """How many numbers LoRA's two matrices have for a weight of this shape."""
        return self.rank * (shape[0] + math.prod(shape[1:]))


@dataclass(frozen=True)
class Widths:
    """Ranks and alphas by block; `alpha` where `alphas` is empty. An alpha of 0 means the rank."""

    ranks: Sequence[int]
    alphas: Sequence[float]
    alpha: float

    def at(self, block: int) -> Width:
        """Those of a block."""
        rank = self.ranks[block]
        return Width.of(rank, self.alphas[block] if self.alphas else self.alpha)


@dataclass(frozen=True)
class Blocks:
    """What is different from block to block of the denoiser: rank and alpha, and the factor on the rate.

    Of Linear layers and 1×1 convolutions, and of larger convolutions; without ranks nothing is different. As kohya's
    `block_dims`, `conv_block_dims` and `block_lr` (`networks/lora.py`).
    """

    small: Widths
    large: Widths
    rates: Sequence[float]

    @classmethod
    def of(cls, spec: object, blocks: int) -> Blocks:
        """What a spec's knobs say of a model with so many blocks; `InputError` where it counts them otherwise."""
        lists = {name: getattr(spec, name, ()) for name in BY_BLOCK}
        if problems := [replace(each, where=f"adapter.{each.path[0]}") for each in cls.problems(spec, blocks)]:
            raise InputError(problems)
        small = Widths(lists["block_ranks"], lists["block_alphas"], getattr(spec, "alpha", 0.0))
        large = Widths(lists["conv_block_ranks"], lists["conv_block_alphas"], getattr(spec, "conv_alpha", 0.0))
        return cls(small, large, lists["block_rates"])

    @staticmethod
    def problems(spec: object, blocks: int) -> Iterator[Problem]:
        """What is wrong with the lists of a spec for a model with so many blocks; paths are knobs of the spec."""
        for name in BY_BLOCK:
            given = getattr(spec, name, ())
            if given and len(given) != blocks:
                what = f"{len(given)} numbers, but the blocks of this base are {blocks}."
                yield Problem(what, cure="Give a number for each.", path=(name,))

    def of_module(self, usual: Width, ref: ModuleRef) -> tuple[Width, float] | None:
        """The width of a module's update and the factor on its rate, `usual` where the blocks are alike; None: left out."""
        width, rate = self.width(usual, ref.block, ref.pointwise), self.rate(ref.block)
        return (width, rate) if width.rank and rate else None

    def width(self, usual: Width, block: int | None, pointwise: bool) -> Width:
        """The width of a module in a block (None: of the text encoder), `usual` where the blocks are alike.

        Larger convolutions without ranks of their own keep the width they have, unless their block is left out.
        """
        if block is None:
            return usual
        own = self.small if pointwise else self.large
        if own.ranks:
            return own.at(block)
        left_out = self.small.ranks and not self.small.ranks[block]
        return Width(0, 0.0) if left_out else usual

    def rate(self, block: int | None) -> float:
        """The factor on the rate of a module in a block."""
        return self.rates[block] if self.rates and block is not None else 1.0

"""How wide the update of a module is, and how fast it learns: by its kind, and by its block of the U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import InputError

if TYPE_CHECKING:
    import torch

    from lorapipe.training.adapters._up_down import UpDown
    from lorapipe.training.families import Model


@dataclass(frozen=True)
class Width:
    """The rank of a module's update, and its alpha."""

    rank: int
    alpha: float


def pointwise(module: torch.nn.Module) -> bool:
    """Whether a module is a Linear or a 1×1 convolution, not one of a larger kernel."""
    return getattr(module, "kernel_size", (1, 1)) == (1, 1)


@dataclass(frozen=True)
class Blocks:
    """What is different from block to block of the U-Net: rank, and factor on the rate. Empty: nothing is.

    As kohya's `block_dims` and `block_lr` (`networks/lora.py`).
    """

    ranks: Sequence[int]
    rates: Sequence[float]
    alpha: float

    @classmethod
    def of(cls, spec: UpDown, model: Model) -> Blocks:
        """What a spec says of this model's blocks; `InputError` where it counts them otherwise."""
        for name in ("block_ranks", "block_rates"):
            given = getattr(spec, name)
            if given and len(given) != model.blocks:
                what = f"{len(given)} numbers, but this base's U-Net has {model.blocks} blocks."
                raise InputError(what, where=f"adapter.{name}", cure="Give a number for each.")
        return cls(spec.block_ranks, spec.block_rates, getattr(spec, "alpha", 0.0))

    def width(self, usual: Width, block: int | None, pointwise: bool) -> Width:
        """The width of a module in a block (None: of the text encoder), `usual` where the blocks are alike.

        The spec's alpha holds for all of them; where it is 0, which means rank, each block's own. Larger convolutions keep
        the width they have, unless their block is left out.
        """
        if block is None or not self.ranks:
            return usual
        rank = self.ranks[block]
        return usual if rank and not pointwise else Width(rank, self.alpha or float(rank))

    def rate(self, block: int | None) -> float:
        """The factor on the rate of a module in a block."""
        return self.rates[block] if self.rates and block is not None else 1.0

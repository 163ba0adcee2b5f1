"""OFT layer."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.formats.algorithms._cayley import rotations
from lorapipe.formats.algorithms.lokr import factorization
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import FactorsLayer, shape_of
from lorapipe.training.adapter_layers.products import Recomputed

HALVINGS = 30
"""Bisection steps in the search for a smaller rotation: nine digits."""


class OftLayer(FactorsLayer):
    """base(x) + strength · (R − I) (base(x) − bias), as in kohya, LyCORIS and A1111: the same as rotating W.

    R rotates the outputs in blocks; `width.alpha` is the constraint.
    """

    algorithm: ClassVar[str] = "oft"

    def __init__(self, base: torch.nn.Module, width: Width) -> None:
        out = shape_of(base)[0]
        size, count = factorization(out, width.rank)
        super().__init__(base, width, {"blocks": (count, size, size)})

    def reset(self, generator: torch.Generator) -> None:
        """Set B to 0, so that R is the identity."""
        self.fill({"blocks": torch.zeros(self.factors["blocks"].shape)})

    def forward(self, input: Tensor) -> Tensor:
        strength = self.factor_now()

        def rotated(x: Tensor, blocks: Tensor) -> Tensor:
            output: Tensor = self.base_layer(x)
            return output + strength * self._turned(output, blocks)

        turned: Tensor = Recomputed.apply(input, rotated, self.factors["blocks"])
        return turned

    def _turned(self, output: Tensor, blocks: Tensor) -> Tensor:
        """Apply R − I to an output (…, out) or (B, out, h, w) minus the base's bias."""
        base: Any = self.base_layer
        turn = rotations(blocks, self.width.alpha * shape_of(base)[0])
        turn = (turn - torch.eye(turn.shape[-1], device=turn.device)).to(output.dtype)
        axis = 1 if output.dim() == 4 and len(shape_of(base)) == 4 else -1
        plain = output.movedim(axis, -1)
        if base.bias is not None:
            plain = plain - base.bias
        seen = plain.unflatten(-1, tuple(turn.shape[:2]))
        return torch.einsum("knm,...kn->...km", turn, seen).flatten(-2).movedim(-1, axis)

    def shrink(self, factor: Tensor) -> None:
        """Reduce the rotation by bisection until ‖(R − I) W‖ is `factor` times its old value."""
        blocks = self.factors["blocks"]
        whole, goal = blocks.detach().clone(), self.norm() * factor
        low, high = torch.zeros_like(factor), torch.ones_like(factor)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            blocks.copy_(whole * middle)
            too_far = self.norm() > goal
            low, high = torch.where(too_far, low, middle), torch.where(too_far, middle, high)
        blocks.copy_(torch.where(factor < 1, whole * low, whole))

"""MiSS: trains one block that groups of inputs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, flag, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Miss(Method):
    """ΔW repeats a block (rank, out) along the inputs  (Kang et al. 2024, arXiv:2409.15371; formerly Bone). Fast."""

    algorithm: ClassVar[str] = "miss"

    rank: int = param(64, "inputs of the block, at most those of the smallest module: 16 to 128", ge=1, le=4096)

    @property
    def size(self) -> int:
        return self.rank

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"block": (size, shape[0])}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        return {**zeros(self.shapes(shape, size)), "inputs": flag(shape[1])}

    def unfit(self, shape: Sequence[int], size: int) -> str:
        return f"has {shape[1]} inputs, fewer than rank {size}" if shape[1] < size else ""

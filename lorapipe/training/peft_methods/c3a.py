"""C3A: trains circulant blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class C3a(Method):
    """ΔW of circulant blocks of side b, with b numbers each  (Chen et al. 2024, arXiv:2407.19342). A high rank."""

    algorithm: ClassVar[str] = "c3a"
    rate_factor: ClassVar[float] = 100.0
    sizes_differ: ClassVar[bool] = True

    block_size: int = param(
        64,
        "side of the blocks, the largest divisor of both sides of a module that is not above it: larger blocks make smaller "
        "files and learn less",
        ge=2,
        le=4096,
    )

    @property
    def size(self) -> int:
        return self.block_size

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        common = math.gcd(*shape)
        side = max(each for each in range(1, min(size, common) + 1) if common % each == 0)
        return {"kernel": (shape[0] // side, shape[1] // side, side)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        return zeros(self.shapes(shape, size))

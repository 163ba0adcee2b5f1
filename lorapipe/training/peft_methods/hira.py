"""HiRA: multiplies W by a low-rank matrix, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, inputs_of, kaiming, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Hira(Method):
    """ΔW = W ⊙ (up · down)  (Huang et al. 2025, ICLR). An update of high rank that is large where W is."""

    algorithm: ClassVar[str] = "hira"
    convolutions: ClassVar[bool] = False
    sizes_differ: ClassVar[bool] = True

    rank: int = param(32, "rank of the factor on W: 16 to 64", ge=1, le=768)

    @property
    def size(self) -> int:
        return self.rank

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"down": (size, inputs_of(shape)), "up": (shape[0], size)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        shapes = self.shapes(shape, size)
        return {**zeros(shapes), "down": kaiming(shapes["down"], generator)}

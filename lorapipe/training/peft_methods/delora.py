"""DeLoRA: a LoRA whose size one number limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, kaiming, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class DeLora(Method):
    """ΔW = lambda / r · normalised up · down  (Bini et al. 2025, arXiv:2503.18225). It is bounded."""

    algorithm: ClassVar[str] = "delora"
    sizes_differ: ClassVar[bool] = True

    rank: int = param(8, "width of the update", ge=1, le=768)
    limit: float = param(15.0, "initial lambda, the bound of the update's size, which is trained too", gt=0, le=1e4)

    @property
    def size(self) -> int:
        return self.rank

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"A": (size, shape[1]), "B": (shape[0], size), "lambda": (1,)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        shapes = self.shapes(shape, size)
        found = {**zeros(shapes), "A": kaiming(shapes["A"], generator)}
        return {**found, "lambda": found["lambda"] + self.limit, "w_norm": weight().norm(dim=0).cpu()}

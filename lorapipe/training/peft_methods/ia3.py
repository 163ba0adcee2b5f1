"""(IA)³: trains a factor for each output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.training.peft_methods import Method, Shapes, flag

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Ia3(Method):
    """W' = l ⊙ W with a factor for each output  (Liu et al. 2022, arXiv:2205.05638). Learns little from few numbers.

    PEFT's form: it multiplies biases too. The usual learning rates are fifty times those of LoRA.
    """

    algorithm: ClassVar[str] = "ia3"
    rate_factor: ClassVar[float] = 50.0
    convolutions: ClassVar[bool] = True

    @property
    def size(self) -> int:
        return 1

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"weight": (shape[0],) if len(shape) == 2 else (1, shape[0], 1, 1)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        import torch

        return {"weight": torch.zeros(self.shapes(shape, size)["weight"]), "on_input": flag(0), "scales_bias": flag(1)}

"""VeRA: trains two vectors for each module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, flag

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Vera(Method):
    """ΔW = (b ⊙ B) · (d ⊙ A) with random A and B  (Kopiczko et al. 2023, arXiv:2310.11454). The smallest files of all.

    The usual learning rates are ten times those of LoRA, as in the paper.
    """

    algorithm: ClassVar[str] = "vera"
    rate_factor: ClassVar[float] = 10.0

    rank: int = param(
        256, "rank of the random matrices; only out + rank numbers of a module are trained", ge=1, le=4096
    )
    initial_d: float = param(0.1, "initial value of d (PEFT's d_initial)", gt=0, le=10)
    seed: int = param(0, "seed of the random matrices (PEFT's projection_prng_key)", ge=0, le=2**31)

    @property
    def size(self) -> int:
        return self.rank

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"lambda_b": (shape[0],), "lambda_d": (size,)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        import torch

        trained = {"lambda_b": torch.zeros(shape[0]), "lambda_d": torch.full((size,), self.initial_d)}
        return {**trained, "seed": flag(self.seed), "inputs": flag(shape[1])}

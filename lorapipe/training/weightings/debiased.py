"""Debiased estimation loss weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Debiased(Weighting):
    """Weights the loss by 1/√SNR: high noise levels, which decide on shapes, weigh most  (Yu et al. 2023,
    arXiv:2310.08442; kohya's `debiased_estimation_loss`).
    """

    def epsilon(self, snr: Tensor) -> Tensor:
        """Return 1/√min(SNR, 1000)."""
        return snr.clamp(min=1e-8, max=1000).rsqrt()

    def v(self, snr: Tensor) -> Tensor:
        """Return kohya's 1/(SNR + 1), which does not correspond to the weight for ε."""
        return 1 / (snr + 1)

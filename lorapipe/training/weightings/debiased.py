"""Debiased estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Debiased(Weighting):
    """Each picture counts by the root of its noise: the noisiest, where shapes are decided, count most  (Yu et al. 2023,
    arXiv:2310.08442; kohya's `debiased_estimation_loss`).
    """

    def epsilon(self, snr: Tensor) -> Tensor:
        """1/√min(SNR, 1000)."""
        return snr.clamp(min=1e-8, max=1000).rsqrt()

    def v(self, snr: Tensor) -> Tensor:
        """1/(SNR + 1): kohya's, which is not the same weight of ε."""
        return 1 / (snr + 1)

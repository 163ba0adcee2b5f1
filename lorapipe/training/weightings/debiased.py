"""Debiased estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    import torch

    from lorapipe.training.noise import Prediction


@dataclass(frozen=True)
class Debiased(Weighting):
    """Each picture counts by the root of its noise: the noisiest, where shapes are decided, count most  (Yu et al. 2023,
    arXiv:2310.08442; kohya's `debiased_estimation_loss`).
    """

    def __call__(self, prediction: Prediction, snr: torch.Tensor) -> torch.Tensor:
        """See `Weighting.__call__`: 1/√min(SNR, 1000) for ε, 1/(SNR + 1) for v."""
        if prediction == "epsilon":
            return snr.clamp(min=1e-8, max=1000).rsqrt()
        return 1 / (snr + 1)

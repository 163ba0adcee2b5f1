"""min-SNR gamma without the kink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import param
from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    import torch

    from lorapipe.training.noise import Prediction


@dataclass(frozen=True)
class SoftMinSnr(Weighting):
    """As min_snr, but passing smoothly from one regime to the other  (Crowson et al. 2024, arXiv:2401.11605, §3.5)."""

    gamma: float = param(5.0, "as min_snr's gamma: where the SNR is this, a picture counts for half", gt=0, le=100)

    def __call__(self, prediction: Prediction, snr: torch.Tensor) -> torch.Tensor:
        """See `Weighting.__call__`: SNR·γ/(SNR + γ) in place of min(SNR, γ)."""
        if prediction == "epsilon":
            return self.gamma / (snr + self.gamma)
        return snr * self.gamma / ((snr + self.gamma) * (snr + 1))

"""min-SNR gamma without the kink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import param
from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SoftMinSnr(Weighting):
    """As min_snr, but passing smoothly from one regime to the other  (Crowson et al. 2024, arXiv:2401.11605, §3.5)."""

    gamma: float = param(5.0, "as min_snr's gamma: where the SNR is this, a picture counts for half", gt=0, le=100)

    def epsilon(self, snr: Tensor) -> Tensor:
        """SNR·γ/(SNR + γ), in place of min(SNR, γ), over SNR."""
        return self.gamma / (snr + self.gamma)

    def v(self, snr: Tensor) -> Tensor:
        """SNR·γ/(SNR + γ), over SNR + 1."""
        return snr * self.gamma / ((snr + self.gamma) * (snr + 1))

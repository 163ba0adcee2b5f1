"""Soft min-SNR-γ loss weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import param
from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SoftMinSnr(Weighting):
    """min_snr with a smooth transition at γ  (Crowson et al. 2024, arXiv:2401.11605, §3.5)."""

    gamma: float = param(5.0, "γ as in min_snr: a picture with this SNR weighs half", gt=0, le=100)

    def epsilon(self, snr: Tensor) -> Tensor:
        """Return SNR·γ/(SNR + γ), which replaces min(SNR, γ), over SNR."""
        return self.gamma / (snr + self.gamma)

    def v(self, snr: Tensor) -> Tensor:
        """Return SNR·γ/(SNR + γ) over SNR + 1."""
        return snr * self.gamma / ((snr + self.gamma) * (snr + 1))

"""The error of the noise, and that of v with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VLike(Weighting):
    """Of a base that predicts noise: to each error a share of what it would be of v is added, so that noisy pictures, whose
    shapes are undecided, count more  (kohya's `v_pred_like_loss`).
    """

    predictions: ClassVar[frozenset[str]] = frozenset({"epsilon"})

    share: float = param(1.0, "how much of the error of v is added", gt=0, le=10, kohya=("v_pred_like_loss",))

    def v(self, snr: Tensor) -> Tensor:
        """1: it is the error of v already."""
        return snr.new_ones(snr.shape)

    def epsilon(self, snr: Tensor) -> Tensor:
        """1 + share · (SNR + 1)/SNR."""
        snr = snr.clamp(min=1e-8, max=1000)
        return 1 + self.share * (snr + 1) / snr

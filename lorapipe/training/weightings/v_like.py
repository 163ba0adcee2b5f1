"""ε-prediction loss with v-prediction loss added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VLike(Weighting):
    """For bases that predict ε: adds `share` times the v-prediction loss, so that high noise levels, which decide on
    shapes, weigh more  (kohya's `v_pred_like_loss`).
    """

    predictions: ClassVar[frozenset[str]] = frozenset({"epsilon"})

    share: float = param(1.0, "factor on the v-prediction loss that is added", gt=0, le=10, kohya=("v_pred_like_loss",))

    def v(self, snr: Tensor) -> Tensor:
        """Return 1: the loss is the v-prediction loss already."""
        return snr.new_ones(snr.shape)

    def epsilon(self, snr: Tensor) -> Tensor:
        """Return 1 + share · (SNR + 1)/SNR."""
        snr = snr.clamp(min=1e-8, max=1000)
        return 1 + self.share * (snr + 1) / snr

"""Weightings: how much the loss of a sample counts, by how noisy it is.

A weighting is a spec with one formula: the weight of the squared error of the noise, by the signal-to-noise ratio. The
base's `Diffusion` translates it for what its network predicts. It multiplies each sample's loss after the mean over the
picture, as in kohya's sd-scripts (`library/custom_train_functions.py`).

To add one, create a file here; import torch inside its functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import Problem
from lorapipe.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class Weighting(Spec, contract="type"):
    """The weight of each timestep in the loss."""

    predictions: ClassVar[frozenset[str] | None] = None
    """What a base may predict for it to mean anything (`Diffusion.prediction`); None is anything."""

    def problems_with(self, prediction: str) -> Iterator[Problem]:
        """Why it cannot weigh the loss of a base that predicts this (`Diffusion.prediction`)."""
        if self.predictions is not None and prediction not in self.predictions:
            wanted = " or ".join(sorted(self.predictions))
            what = f"{self.name} is for bases that predict {wanted}; this one predicts {prediction}."
            cure = "Use min_snr or none, or say what the base predicts (prediction, beside its checkpoint)."
            yield Problem(what, cure=cure, path=("weighting",))

    def __call__(self, diffusion: Diffusion, t: Tensor) -> Tensor:
        """Weights (B,), finite and ≥ 0, of the squared error of the network's output at t (B,)."""
        return diffusion.weight(t, self.epsilon, self.v)

    @abstractmethod
    def epsilon(self, snr: Tensor) -> Tensor:
        """Weights (B,) of the squared error of ε, for signal-to-noise ratios (B,) ≥ 0."""

    def v(self, snr: Tensor) -> Tensor:
        """The same for the error of v, which is larger by (SNR + 1)/SNR; overridden where a paper or kohya has another."""
        return self.epsilon(snr) * snr / (snr + 1)

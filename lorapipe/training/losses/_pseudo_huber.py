"""Pseudo-Huber losses, quadratic for small errors and linear for large ones, as in kohya's `train_util.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.training.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class PseudoHuber(Loss):
    """√(error² + c²) − c, where the threshold c may depend on the timestep."""

    c: float = param(
        0.1,
        "error above which the loss is linear instead of quadratic, which limits the effect of outliers; at the highest "
        "noise level",
        gt=0,
        le=1,
        kohya=("huber_c",),
    )
    schedule: Literal["snr", "exponential", "constant"] = param(
        "snr",
        "how c depends on the noise level: snr and exponential fall from 1 without noise to c, constant is c everywhere",
        kohya=("huber_schedule",),
    )
    scale: float = param(
        1.0, "factor on c of the exponential and constant schedules", gt=0, le=100, kohya=("huber_scale",), rare=True
    )

    def problems(self) -> Iterator[Problem]:
        if self.schedule == "snr" and self.scale != 1:
            what = "the snr schedule has no scale."
            yield Problem(what, cure="Take it away, or use the exponential or constant one.", path=("scale",))

    def threshold(self, diffusion: Diffusion, t: Tensor) -> Tensor:
        """Return c at each t, (B,)."""
        import torch

        if self.schedule == "snr":
            return (1 - self.c) / (1 + diffusion.sigma(t)).square() + self.c
        share = diffusion.share(t) if self.schedule == "exponential" else torch.ones_like(t)
        return torch.exp(math.log(self.c) * share) * self.scale

    def rounded(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return 2 (√(error² + c²) − c), elementwise, and c in a shape that broadcasts with it."""
        c = self.threshold(diffusion, t).float().reshape(-1, *[1] * (prediction.ndim - 1))
        return 2 * (((prediction.float() - target.float()).square() + c.square()).sqrt() - c), c

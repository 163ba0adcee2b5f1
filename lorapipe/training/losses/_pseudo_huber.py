"""Losses that are square near zero and straight far from it, as kohya's sd-scripts has them (`train_util.py`)."""

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
    """√(error² + c²) − c, where c, the error at which square becomes straight, may depend on the timestep."""

    c: float = param(
        0.1,
        "the error from which it grows no longer as the square: odd pictures then spoil less; at the noisiest",
        gt=0,
        le=1,
        kohya=("huber_c",),
    )
    schedule: Literal["snr", "exponential", "constant"] = param(
        "snr",
        "how c rises where there is less noise: snr and exponential (from 1 at no noise down to c), or constant",
        kohya=("huber_schedule",),
    )
    scale: float = param(
        1.0, "factor on c of the exponential and constant schedules", gt=0, le=100, kohya=("huber_scale",)
    )

    def problems(self) -> Iterator[Problem]:
        if self.schedule == "snr" and self.scale != 1:
            what = "the snr schedule has no scale."
            yield Problem(what, cure="Take it away, or use the exponential or constant one.", path=("scale",))

    def threshold(self, diffusion: Diffusion, t: Tensor) -> Tensor:
        """c at each t, (B,)."""
        import torch

        if self.schedule == "snr":
            return (1 - self.c) / (1 + diffusion.sigma(t)).square() + self.c
        share = diffusion.share(t) if self.schedule == "exponential" else torch.ones_like(t)
        return torch.exp(math.log(self.c) * share) * self.scale

    def rounded(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> tuple[Tensor, Tensor]:
        """2 (√(error² + c²) − c), elementwise, and c shaped to go with it."""
        c = self.threshold(diffusion, t).float().reshape(-1, *[1] * (prediction.ndim - 1))
        return 2 * (((prediction.float() - target.float()).square() + c.square()).sqrt() - c), c

"""The noise of a training, drawn by (seed, step, sample), and the kinds of it that kohya's options name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from lorapipe.training.diffusion import Diffusion
from lorapipe.training.seeds import seed_of


class NoiseDraw(NamedTuple):
    """Of each sample: the noise to predict, the timestep (see `Diffusion`), and the noise to add."""

    target: torch.Tensor
    timesteps: torch.Tensor
    added: torch.Tensor


def draw(
    seed: int, step: int, samples: range, shape: Sequence[int], diffusion: Diffusion, low: int = 0, high: int = 1000
) -> NoiseDraw:
    """Noise (B, *shape) and timesteps (B,) between `low` and `high` of the named samples of an update; on the CPU.

    A function of (seed, step, sample) alone: a resumed training draws what an unbroken one would have drawn, and two
    batches of one draw what one batch of two does. Drawn on the CPU because every device has its own random numbers.
    """
    noise = torch.empty(len(samples), *shape)
    drawn = []
    for place, sample in enumerate(samples):
        chance = generator("noise", seed, step, sample)
        drawn.append(diffusion.draw(chance, low, high, shape))
        noise[place].normal_(generator=chance)
    return NoiseDraw(noise, torch.stack(drawn), noise)


Generators = Sequence[torch.Generator]
"""One for each sample."""


def strengths(highest: float, random: bool, chances: Generators) -> torch.Tensor:
    """The strength of each sample (B, 1, 1, 1): the highest, or drawn between 0 and it."""
    drawn = [torch.rand((), generator=chance) * highest if random else torch.tensor(highest) for chance in chances]
    return torch.stack(drawn).reshape(-1, 1, 1, 1)


def adapted(strength: torch.Tensor, scale: float, clean: torch.Tensor) -> torch.Tensor:
    """Strengths (B, 1, 1, 1) + scale · |mean of each channel|, at least 0: (B, C, 1, 1), as kohya's `apply_noise_offset`."""
    return (strength + scale * clean.float().mean((2, 3), keepdim=True).abs().cpu()).clamp(min=0)


def offset(noise: torch.Tensor, strength: torch.Tensor, chances: Generators) -> torch.Tensor:
    """noise + strength · N(0, 1) for each channel as a whole  (Guttenberg 2023, "Diffusion with Offset Noise")."""
    shifts = [torch.randn(noise.shape[1], 1, 1, generator=chance) for chance in chances]
    return noise + strength * torch.stack(shifts)


def perturbed(noise: torch.Tensor, strength: torch.Tensor, chances: Generators) -> torch.Tensor:
    """noise + strength · N(0, I): what is added, while `noise` is to be predicted  (Ning et al. 2023, arXiv:2301.11706)."""
    return noise + strength * torch.stack([torch.randn(noise.shape[1:], generator=chance) for chance in chances])


def multires(noise: torch.Tensor, iterations: int, discount: float, chances: Generators) -> torch.Tensor:
    """noise + Σ discountⁱ · coarser noise, over its standard deviation  (Whitaker 2023, "Multi-Resolution Noise").

    As kohya's `pyramid_noise_like`, by sample: layer i is rⁱ times coarser, r drawn anew in 2 … 4, and the last one is
    the first to be a single row or column.
    """
    return torch.stack(
        [_pyramid(one, iterations, discount, chance) for one, chance in zip(noise, chances, strict=True)]
    )


def _pyramid(noise: torch.Tensor, iterations: int, discount: float, chance: torch.Generator) -> torch.Tensor:
    channels, height, width = noise.shape
    total = noise
    for layer in range(iterations):
        stride = (2 + 2 * float(torch.rand((), generator=chance))) ** layer
        size = max(1, int(height / stride)), max(1, int(width / stride))
        coarse = torch.randn(1, channels, *size, generator=chance)
        finer = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
        total = total + finer * discount**layer
        if 1 in size:
            break
    return total / total.std()


def generator(*what: str | int) -> torch.Generator:
    """Random numbers that depend on these words alone; see `seed_of`."""
    return torch.Generator().manual_seed(seed_of(*what))

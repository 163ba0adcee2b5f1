"""The noise of a training, a function of (seed, step, sample), and kohya's variants: offset, multires, ip noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from lorapipe.training.diffusion import Diffusion
from lorapipe.training.seeds import seed_of


class NoiseDraw(NamedTuple):
    """For each sample: the noise to predict, the timestep (see `Diffusion`), and the noise that is added."""

    target: torch.Tensor
    timesteps: torch.Tensor
    added: torch.Tensor


def draw(
    seed: int, step: int, samples: range, shape: Sequence[int], diffusion: Diffusion, low: int = 0, high: int = 1000
) -> NoiseDraw:
    """Draw noise (B, *shape) and timesteps (B,) between `low` and `high` for samples of an update; on the CPU.

    The result is a function of (seed, step, sample) alone: a resumed training draws the same as an uninterrupted one, and
    two batches of one sample the same as one batch of two. It is drawn on the CPU, since devices have different generators.
    """
    noise = torch.empty(len(samples), *shape)
    drawn = []
    for place, sample in enumerate(samples):
        chance = generator("noise", seed, step, sample)
        drawn.append(diffusion.draw(chance, low, high, shape))
        noise[place].normal_(generator=chance)
    return NoiseDraw(noise, torch.stack(drawn), noise)


Generators = Sequence[torch.Generator]
"""One generator for each sample."""


def strengths(highest: float, random: bool, chances: Generators) -> torch.Tensor:
    """Return the strength of each sample, (B, 1, 1, 1): `highest`, or uniform between 0 and `highest` if `random`."""
    drawn = [torch.rand((), generator=chance) * highest if random else torch.tensor(highest) for chance in chances]
    return torch.stack(drawn).reshape(-1, 1, 1, 1)


def adapted(strength: torch.Tensor, scale: float, clean: torch.Tensor) -> torch.Tensor:
    """Return max(0, strength + scale · |mean of each channel|), (B, C, 1, 1), as kohya's `apply_noise_offset`."""
    return (strength + scale * clean.float().mean((2, 3), keepdim=True).abs().cpu()).clamp(min=0)


def offset(noise: torch.Tensor, strength: torch.Tensor, chances: Generators) -> torch.Tensor:
    """Return noise + strength · N(0, 1), one draw per channel (Guttenberg 2023, "Diffusion with Offset Noise")."""
    shifts = [torch.randn(noise.shape[1], 1, 1, generator=chance) for chance in chances]
    return noise + strength * torch.stack(shifts)


def perturbed(noise: torch.Tensor, strength: torch.Tensor, chances: Generators) -> torch.Tensor:
    """Return noise + strength · N(0, I), to be added while `noise` is predicted (Ning et al. 2023, arXiv:2301.11706)."""
    return noise + strength * torch.stack([torch.randn(noise.shape[1:], generator=chance) for chance in chances])


def multires(noise: torch.Tensor, iterations: int, discount: float, chances: Generators) -> torch.Tensor:
    """Return noise + Σ discountⁱ · coarser noise, divided by its standard deviation.

    Whitaker 2023, "Multi-Resolution Noise"; as kohya's `pyramid_noise_like`, by sample: layer i is rⁱ times coarser, with r
    drawn uniformly from 2 … 4 for each layer, and the layers end with the first that is a single row or column.
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
    """Return a torch generator seeded by these values alone; see `seed_of`."""
    return torch.Generator().manual_seed(seed_of(*what))

"""What is asked of the network: noise, timesteps, noisy latents, targets, and the weight of each timestep.

Symbols are the papers': x₀ a clean latent, ε ~ N(0, I), ᾱ_t the share of x₀'s variance that is left at timestep t
(Ho et al. 2020, arXiv:2006.11239), SNR(t) = ᾱ_t / (1 − ᾱ_t) (Kingma et al. 2021, arXiv:2107.00630).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch

Prediction = Literal["epsilon", "v_prediction"]


def draw(seed: int, step: int, samples: range, shape: Sequence[int], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise (B, *shape) and timesteps (B,), uniform in 0 … length − 1, of the named samples of an update; on the CPU.

    A function of (seed, step, sample) alone: a resumed training draws what an unbroken one would have drawn, and two
    batches of one draw what one batch of two does. Drawn on the CPU because every device has its own random numbers.
    """
    generator = torch.Generator()
    noise = torch.empty(len(samples), *shape)
    timesteps = torch.empty(len(samples), dtype=torch.long)
    for place, sample in enumerate(samples):
        generator.manual_seed(seed_of("noise", seed, step, sample))
        timesteps[place] = torch.randint(length, (), generator=generator)
        noise[place].normal_(generator=generator)
    return noise, timesteps


def seed_of(*what: str | int) -> int:
    """A seed for a generator, unrelated to that of any other argument (neighbouring seeds are no kin here)."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # non-negative in 64 bits


def diffuse(
    clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, alphas_cumprod: torch.Tensor
) -> torch.Tensor:
    """x_t = √ᾱ_t · x₀ + √(1 − ᾱ_t) · ε, all (B, C, h, w)  (Ho et al. 2020, eq. 4)."""
    alpha_bar = _per_sample(alphas_cumprod, timesteps, clean)
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


def target(
    prediction: Prediction,
    clean: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
) -> torch.Tensor:
    """What the network should say of x_t: ε, or v = √ᾱ_t · ε − √(1 − ᾱ_t) · x₀  (Salimans & Ho 2022, app. D)."""
    if prediction == "epsilon":
        return noise
    alpha_bar = _per_sample(alphas_cumprod, timesteps, clean)
    return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean


def min_snr_weight(
    prediction: Prediction, timesteps: torch.Tensor, alphas_cumprod: torch.Tensor, gamma: float
) -> torch.Tensor:
    """Weight of each sample's loss, (B,): min(SNR, γ)/SNR for ε, min(SNR, γ)/(SNR + 1) for v; all 1 where γ is 0.

    Hang et al. 2023, arXiv:2303.09556, eq. 8 and app. A; kohya's `apply_snr_weight`. Nearly clean latents (high SNR)
    teach little but weigh as much as all others without it. Where SNR is 0 the ε weight is its limit, 1.
    """
    if gamma == 0:
        return torch.ones_like(timesteps, dtype=torch.float32)
    alpha_bar = alphas_cumprod[timesteps]
    snr = alpha_bar / (1 - alpha_bar)
    if prediction == "epsilon":
        return (gamma / snr).clamp(max=1)
    return snr.clamp(max=gamma) / (snr + 1)


def _per_sample(values: torch.Tensor, timesteps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """values[t] for each sample, shaped to be multiplied with (B, …)."""
    return values[timesteps].reshape(-1, *[1] * (like.ndim - 1))

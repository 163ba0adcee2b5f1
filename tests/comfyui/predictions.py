"""What ComfyUI and lorapipe predict of the same noise and prompt."""

from __future__ import annotations

from typing import Any

import tiny_bases
import torch
from real_comfyui import Server
from safetensors.torch import load_file

from lorapipe.models import Model


def latent(server: Server, **how: Any) -> torch.Tensor:
    """Sample the graph of `tiny_bases`, and return its latent."""
    return sampled(server, tiny_bases.graph(**how))


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the difference of two tensors, relative to the second."""
    return float((one - other).norm() / other.norm())


def sampled(server: Server, graph: dict[str, Any]) -> torch.Tensor:
    """Run a graph and return its sampled latent."""
    (shown,) = server.run(graph)["latent"]["latents"]
    return load_file(server.file(shown))["latent_tensor"]


def predicted(server: Server, model: Model, graph: dict[str, Any]) -> torch.Tensor:
    """Return ComfyUI's prediction on pure noise: one Euler step is x − σ · ε, with x = noise · √(1 + σ²).

    The latents are divided by their scale (Karras et al. 2022).
    """
    scale = 0.13025 if "text_encoder_2" in model.trainable else 0.18215
    last = model.diffusion.alphas_cumprod[-1]
    sigma = ((1 - last) / last).sqrt()
    return (noise() * (1 + sigma**2).sqrt() - sampled(server, graph) * scale) / sigma


def noise() -> torch.Tensor:
    """The noise that ComfyUI draws on the CPU from the graph's seed."""
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(tiny_bases.SEED))


def prediction(model: Model, prompt: str) -> torch.Tensor:
    """Return lorapipe's prediction on the same noise."""
    time_ids = model.size_conditioning((64, 64), (0, 0), (64, 64))
    last = torch.tensor([len(model.diffusion.alphas_cumprod) - 1])
    with torch.no_grad():
        return model.predict(noise(), last, {**model.encode_text([prompt]), **time_ids})

"""The denoiser: a Stable Diffusion U-Net and its text encoder, trained together on the autoencoder's latents.

Noise prediction on SD's schedule (Rombach et al. 2022), min-SNR weighting with gamma 5 (Hang et al. 2023), one caption
in ten left empty for classifier-free guidance (Ho & Salimans 2021), and an exponential moving average of the weights.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lorapipe.pocket.world import caption
from tools.pocket.pictures import creatures, render, to_tensor
from tools.pocket.tokenizer import LENGTH
from tools.pocket.train import TrainingRun, average_in, generator

POOL = 24_000
BATCH = 24
CYCLES = (10_000,)
PEAK = 1e-3
GAMMA = 5.0
EMPTY = 0.1
WIDTH = 128


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder of the shipped shape."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def new_unet() -> UNet2DConditionModel:
    """An untrained U-Net of the shipped shape; blocks and names are SD1.x's, widths are not.

    Attention starts at 8 x 8: at 16 x 16 it would cost half as much again and the drawings need none.
    """
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(48, 112, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """SD's noise schedule."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class Denoiser(nn.Module):
    """Text encoder and U-Net with their common loss."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text, self.unet = new_text_encoder(tokenizer), new_unet()
        alphas = new_scheduler().alphas_cumprod
        self.register_buffer("alphas", alphas, persistent=False)

    def loss(self, latents: Tensor, tokens: Tensor, chance: torch.Generator) -> Tensor:
        """Weighted squared error of the predicted noise; latents (B, 4, 16, 16) of unit variance, tokens (B, 77)."""
        when = torch.randint(len(self.alphas), (len(latents),), generator=chance)
        noise = torch.randn(latents.shape, generator=chance)
        alpha = self.alphas[when].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        predicted = self.unet(noisy, when, self.text(tokens).last_hidden_state).sample
        snr = (alpha / (1 - alpha)).flatten()
        weight = snr.clamp(max=GAMMA) / snr
        return (weight * (predicted - noise).square().mean(dim=(1, 2, 3))).mean()


def train_unet(
    work: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, seed: int = 0, cycles: Sequence[int] = CYCLES
) -> Iterator[tuple[int, float, TrainingRun]]:
    """Train or resume in `work`/unet.pt, yielding (step, loss, the run whose `average` is the model so far)."""
    population = creatures(seed + 200, POOL)
    latents = _encoded(work, vae, seed)
    torch.manual_seed(seed)
    model = Denoiser(tokenizer).to(memory_format=torch.channels_last)
    run = TrainingRun(model, cycles, PEAK, work / "unet.pt")

    def loss_at(step: int) -> Tensor:
        chance, words = generator(seed, step), Random(seed * 1_000_003 + step)
        picked = torch.randint(len(latents), (BATCH,), generator=chance)
        captions = ["" if words.random() < EMPTY else caption(population[i], words) for i in picked]
        tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return model.loss(latents[picked].float(), tokens, chance)

    for step, loss in run.run(loss_at):
        yield step, loss, run


def finished_unet(work: Path, tokenizer: CLIPTokenizer) -> Denoiser:
    """The average of what was trained in `work`."""
    model = Denoiser(tokenizer)
    model.load_state_dict(average_in(work / "unet.pt", "base"))
    return model


@torch.no_grad()
def _encoded(work: Path, vae: AutoencoderKL, seed: int) -> Tensor:
    """Scaled latents of the pool, kept in `work` under the autoencoder's digest."""
    digest = hashlib.sha256(b"".join(p.numpy().tobytes() for p in vae.state_dict().values())).hexdigest()[:12]
    kept = work / f"latents-{digest}-{seed}-{POOL}.pt"
    if not kept.exists():
        population = creatures(seed + 200, POOL)
        parts = [population[start : start + 200] for start in range(0, POOL, 200)]
        latents = [vae.encode(to_tensor(render(part))).latent_dist.mode().half() for part in parts]
        torch.save(torch.cat(latents) * vae.config.scaling_factor, kept)
    return torch.load(kept, weights_only=True)

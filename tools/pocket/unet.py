"""Training of the denoiser: a Stable Diffusion U-Net and its text encoder, jointly, on the VAE's latents.

ε-prediction on SD's noise schedule (Rombach et al. 2022), min-SNR weighting with γ = 5 (Hang et al. 2023), caption dropout
of 1/8 for classifier-free guidance (Ho & Salimans 2021), and an EMA of the weights.
"""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tools.pocket.pictures import to_float
from tools.pocket.pools import CAPTIONS, Pool, encoded, picked, pool, random_places
from tools.pocket.tokenizer import LENGTH
from tools.pocket.train import TrainingRun, average_in

BATCH = 512
CYCLES = (3_375,)
PEAK = 1.5e-3
GAMMA = 5.0
EMPTY = 0.12
WIDTH = 128


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained text encoder of the shipped architecture."""
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
    """Return an untrained U-Net of the shipped architecture, with SD1.x's blocks and names but smaller widths.

    Attention starts at 8 x 8: at 16 x 16 it would cost half as much again, and the drawings do not need it.
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
    """Return SD's noise schedule."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class Denoiser(nn.Module):
    """Text encoder and U-Net with their joint loss."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text, self.unet = new_text_encoder(tokenizer), new_unet()
        alphas = new_scheduler().alphas_cumprod
        self.register_buffer("alphas", alphas, persistent=False)

    def loss(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Return the weighted MSE of the predicted noise; latents (B, 4, 16, 16) of unit variance, tokens (B, 77).

        A batch's timesteps are stratified over the schedule.
        """
        count, device = len(latents), latents.device
        when = (
            (torch.arange(count, device=device) + torch.rand(count, device=device)) * (len(self.alphas) / count)
        ).long()
        when = when.clamp(max=len(self.alphas) - 1)[torch.rand(count, device=device).argsort()]
        noise = torch.randn_like(latents)
        alpha = self.alphas[when].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        predicted = self.unet(noisy, when, self.text(tokens).last_hidden_state).sample.float()
        snr = (alpha / (1 - alpha)).flatten()
        weight = snr.clamp(max=GAMMA) / snr
        return (weight * (predicted - noise).square().mean(dim=(1, 2, 3))).mean()


def train_unet(
    work: Path,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    seed: int = 0,
    device: str = "cpu",
    cycles: Sequence[int] = CYCLES,
) -> Iterator[tuple[int, float, TrainingRun]]:
    """Train or resume in `work`/unet.pt; yield (step, loss, the run, whose `average` is the model so far)."""
    pools = [pool(work, kind, seed=seed) for kind in ("world", "subjects")]
    world, latents = len(pools[0]), _encoded(work, vae, pools, device)
    texts, nothing = torch.cat([each.tokens for each in pools]).to(device), torch.tensor(encoded([]), device=device)
    torch.manual_seed(seed)
    model = Denoiser(tokenizer).to(device, memory_format=torch.channels_last)
    training = TrainingRun(model, cycles, PEAK, work / "unet.pt", decay=0.9995, seed=seed)
    of_world = torch.arange(BATCH, device=device) < BATCH * 5 // 8

    def loss() -> Tensor:
        places, caption = picked(of_world, world, len(latents)), random_places(BATCH, CAPTIONS, device)
        is_empty = torch.rand(BATCH, 1, device=device) < EMPTY
        return model.loss(latents[places].float(), torch.where(is_empty, nothing, texts[places, caption].long()))

    for step, value in training.run(loss):
        yield step, value, training


def finished_unet(work: Path, tokenizer: CLIPTokenizer) -> Denoiser:
    """Return the EMA of the training in `work`."""
    model = Denoiser(tokenizer)
    model.load_state_dict(average_in(work / "unet.pt", "base"))
    return model


@torch.no_grad()
def _encoded(work: Path, vae: AutoencoderKL, pools: Sequence[Pool], device: str) -> Tensor:
    """Return scaled latents of the pools, cached in `work` by the VAE's digest."""
    digest = hashlib.sha256(b"".join(p.numpy().tobytes() for p in vae.state_dict().values())).hexdigest()[:12]
    count = sum(map(len, pools))
    kept = work / f"latents-{digest}-{count}.pt"
    if not kept.exists():
        encoder = copy.deepcopy(vae).to(device, memory_format=torch.channels_last)
        parts = [part for each in pools for part in each.pictures.split(500)]
        latents = [encoder.encode(to_float(part.to(device))).latent_dist.mode().half().cpu() for part in parts]
        torch.save(torch.cat(latents) * vae.config.scaling_factor, kept)
    return torch.load(kept, weights_only=True).to(device)

"""Training of the VAE: 64 x 64 pictures to 4 x 16 x 16 latents and back.

It is small: no attention, one residual block per level, most width at the lowest resolution. Three of five training pictures
show subjects outside the world, in any style, and a quarter have permuted colour channels: a VAE trained on the world alone
turns a turquoise animal blue, and then no LoRA can learn turquoise.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from tools.pocket.pictures import HELD_OUT, creatures, render, to_float, to_tensor
from tools.pocket.pools import picked, pool
from tools.pocket.train import TrainingRun, average_in

BATCH = 48
CYCLES = (4_050,)
PEAK = 1.5e-3
KL = 2e-6
LEAST = 1e-4
"""Squared error below which the logarithmic loss term stops improving a picture."""


def new_vae() -> AutoencoderKL:
    """Return an untrained VAE of the shipped architecture."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        norm_num_groups=16,
        mid_block_add_attention=False,
        sample_size=64,
    )


class Roundtrip(nn.Module):
    """VAE with its reconstruction loss: encode, sample the posterior, decode."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = new_vae()

    def loss(self, pictures: Tensor) -> Tensor:
        """Return L1 loss (sharp edges) + MSE + its logarithm (PSNR) + a very small KL term (Kingma & Welling 2014; weight
        as in LDM)."""
        posterior = self.vae.encode(pictures).latent_dist
        latents = posterior.mean.float() + posterior.std.float() * torch.randn_like(posterior.mean.float())
        error = (self.vae.decode(latents).sample - pictures).float()
        squared = error.square().mean(dim=(1, 2, 3))
        return (
            error.abs().mean()
            + 2 * squared.mean()
            + 0.02 * (squared + LEAST).log().mean()
            + KL * posterior.kl().float().mean()
        )


def train_vae(
    work: Path, seed: int = 0, device: str = "cpu", cycles: Sequence[int] = CYCLES
) -> Iterator[tuple[int, float, float | None]]:
    """Train or resume in `work`/vae.pt; yield (step, loss, PSNR on held-out drawings every 250 steps, else None)."""
    kinds = [pool(work, kind, seed=seed).pictures for kind in ("world", "subjects", "pairs")]
    world, pictures = len(kinds[0]), torch.cat(kinds).to(device)
    unseen = to_tensor(render(creatures(HELD_OUT, 200))).to(device)
    torch.manual_seed(seed)
    model = Roundtrip().to(device, memory_format=torch.channels_last)
    training = TrainingRun(model, cycles, PEAK, work / "vae.pt", seed=seed)
    of_world = torch.arange(BATCH, device=device) < BATCH * 2 // 5

    def loss() -> Tensor:
        return model.loss(recoloured(to_float(pictures[picked(of_world, world, len(pictures))])))

    for step, value in training.run(loss):
        yield step, value, psnr(training.average.vae, unseen) if step % 250 == 0 else None


def recoloured(pictures: Tensor, share: float = 0.25) -> Tensor:
    """Permute the colour channels of a `share` of the pictures (B, 3, H, W)."""
    count, device = len(pictures), pictures.device
    order = torch.rand(count, 3, device=device).argsort(1)
    plain = torch.rand(count, 1, device=device) >= share
    order = torch.where(plain, torch.arange(3, device=device), order)
    exchanged = pictures.gather(1, order[:, :, None, None].expand_as(pictures))
    return exchanged.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def finished_vae(work: Path, seed: int = 0) -> AutoencoderKL:
    """Return the trained VAE, with the `scaling_factor` that gives its latents unit standard deviation."""
    model = Roundtrip()
    model.load_state_dict(average_in(work / "vae.pt", "vae"))
    vae: AutoencoderKL = model.vae.eval().requires_grad_(False)
    seen = [pool(work, kind, seed=seed).pictures[:2000] for kind in ("world", "subjects")]
    latents = [vae.encode(to_float(part)).latent_dist.mode() for kind in seen for part in kind.split(200)]
    vae.register_to_config(scaling_factor=round(1 / torch.cat(latents).std().item(), 4))
    return vae


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Return the mean PSNR in dB of `pictures` (-1..1) decoded from the posterior's mode."""
    restored = torch.cat([vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pictures.split(50)])
    error = (restored.clamp(-1, 1) - pictures).square().mean(dim=(1, 2, 3))
    return float((10 * torch.log10(4 / error)).mean())

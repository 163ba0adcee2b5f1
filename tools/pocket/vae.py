"""The autoencoder: 64 x 64 pictures to 4 x 16 x 16 latents and back.

Small on purpose: no attention, one residual block a level, most of its width at the lowest resolution.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from tools.pocket.pictures import HELD_OUT, creatures, render, to_tensor
from tools.pocket.train import TrainingRun, average_in, generator

POOL = 16_000
BATCH = 6
CYCLES = (4_500, 5_500)
PEAK = 2e-3
KL = 3e-6


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder of the shipped shape."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
    )


def distance(error: Tensor) -> Tensor:
    """Absolute plus squared error: the absolute one keeps edges sharp, the squared one is what PSNR measures."""
    return error.abs().mean() + 2 * error.square().mean()


class Roundtrip(nn.Module):
    """Encode, sample the posterior, decode."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = new_vae()

    def loss(self, pictures: Tensor, noise: torch.Generator) -> Tensor:
        """The distance and a very small KL term (Kingma & Welling 2014; weight as in LDM)."""
        posterior = self.vae.encode(pictures).latent_dist
        error = self.vae.decode(posterior.sample(noise)).sample - pictures
        return distance(error) + KL * posterior.kl().mean()


def train_vae(work: Path, seed: int = 0, cycles: Sequence[int] = CYCLES) -> Iterator[tuple[int, float, float | None]]:
    """Train or resume in `work`/vae.pt, yielding (step, loss, PSNR on unseen drawings every 250 steps)."""
    pool, unseen = render(creatures(seed + 100, POOL)), to_tensor(render(creatures(HELD_OUT, 200)))
    torch.manual_seed(seed)
    model = Roundtrip().to(memory_format=torch.channels_last)
    run = TrainingRun(model, cycles, PEAK, work / "vae.pt")

    def loss_at(step: int) -> Tensor:
        chance = generator(seed, step)
        picked = torch.randint(len(pool), (BATCH,), generator=chance)
        return model.loss(to_tensor(pool[picked.numpy()]), chance)

    for step, loss in run.run(loss_at):
        yield step, loss, psnr(run.average.vae, unseen) if step % 250 == 0 else None


@torch.no_grad()
def finished_vae(work: Path, seed: int = 0) -> AutoencoderKL:
    """The trained autoencoder, with the `scaling_factor` that gives its latents unit standard deviation."""
    model = Roundtrip()
    model.load_state_dict(average_in(work / "vae.pt", "vae"))
    vae: AutoencoderKL = model.vae.eval().requires_grad_(False)
    pictures = to_tensor(render(creatures(seed + 100, 500)))
    deviation = vae.encode(pictures).latent_dist.mode().std().item()
    vae.register_to_config(scaling_factor=round(1 / deviation, 4))
    return vae


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Mean peak signal-to-noise ratio, in dB, of `pictures` (-1..1) through the autoencoder's mode."""
    restored = torch.cat([vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pictures.split(50)])
    error = (restored.clamp(-1, 1) - pictures).square().mean(dim=(1, 2, 3))
    return float((10 * torch.log10(4 / error)).mean())

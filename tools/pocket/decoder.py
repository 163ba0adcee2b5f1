"""The decoder, taught to draw what is not in the world: the encoder stays, so that latents mean what they meant.

An autoencoder that has only seen the world turns a turquoise animal blue, and then no LoRA can learn turquoise. Half of the
pictures here are strangers: random shapes in random colours.
"""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.pocket.pictures import creatures, render, to_tensor
from tools.pocket.random_subjects import draw_pair
from tools.pocket.train import TrainingRun, average_in, generator
from tools.pocket.vae import distance, finished_vae, psnr

POOL = 6_000
BATCH = 8
CYCLES = (4_000,)
PEAK = 1e-3
HIDDEN = 10_000_000
"""Strangers from this number on are for measuring alone."""


class Decoding(nn.Module):
    """The half of an autoencoder that is trained here; its modules are the autoencoder's own."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder

    def loss(self, latents: Tensor, pictures: Tensor) -> Tensor:
        """The autoencoder's own distance."""
        return distance(self.decoder(self.post_quant_conv(latents)) - pictures)


def strangers(first: int, count: int) -> NDArray[np.uint8]:
    """Pictures of `count` strangers, (N, 64, 64, 3)."""
    return np.stack([np.asarray(draw_pair(first + number)[0]) for number in range(count)])


def train_decoder(work: Path, seed: int = 0) -> Iterator[tuple[int, float, float | None]]:
    """Train or resume in `work`/decoder.pt; (step, loss, PSNR on unseen strangers every 250 steps)."""
    vae = finished_vae(work, seed)
    pool = np.concatenate([render(creatures(seed + 100, POOL)), strangers(seed + 5_000_000, POOL)])
    with torch.no_grad():
        posteriors = [vae.encode(to_tensor(pool[at : at + 100])).latent_dist for at in range(0, len(pool), 100)]
        mean = torch.cat([posterior.mean for posterior in posteriors])
        deviation = torch.cat([posterior.std for posterior in posteriors])
    unseen = to_tensor(strangers(HIDDEN, 100))
    run = TrainingRun(Decoding(vae.requires_grad_(True)), CYCLES, PEAK, work / "decoder.pt")

    def loss_at(step: int) -> Tensor:
        chance = generator(seed, step)
        picked = torch.randint(len(pool), (BATCH,), generator=chance)
        noise = torch.randn(mean[picked].shape, generator=chance)
        return run.model.loss(mean[picked] + deviation[picked] * noise, to_tensor(pool[picked.numpy()]))

    judged = copy.deepcopy(vae)
    judged.decoder, judged.post_quant_conv = run.average.decoder, run.average.post_quant_conv
    for step, loss in run.run(loss_at):
        yield step, loss, psnr(judged, unseen) if step % 250 == 0 else None


def finished_decoder(work: Path, seed: int = 0) -> AutoencoderKL:
    """The trained autoencoder with its trained decoder."""
    vae = finished_vae(work, seed)
    Decoding(vae).load_state_dict(average_in(work / "decoder.pt", "decoder"))
    return vae

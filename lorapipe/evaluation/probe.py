"""The probe: the training's loss at fixed noise and timesteps, so that two snapshots can be compared.

The loss that a training shows is of random pictures at random timesteps, and jumps by more than it falls in an hour.
Here the pictures, the noise and the timesteps are the same for every snapshot, so that differences are the snapshot's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lorapipe.training import noise
from lorapipe.training.families import Condition, Model

TIMESTEPS = 5
"""At the middles of so many equal parts of the schedule: 100, 300 … 900 of 1000."""
BATCH = 8


@dataclass(frozen=True)
class Subject:
    """A picture to probe with: its clean latent (C, h, w), its caption, and what its noise is drawn from.

    `framing` is what the network is told of its shape: see `Model.framing`.
    """

    latent: torch.Tensor
    caption: str
    seed: int
    framing: Condition = field(default_factory=dict)


def losses(model: Model, subjects: Sequence[Subject], **reading: Any) -> torch.Tensor:
    """Mean squared error of the prediction, (pictures, TIMESTEPS), float64 on the CPU.

    `reading` says how captions are read, as for `Model.encode_text`.

    Unweighted (Ho et al. 2020, eq. 14). The latents must be of one shape. NaN where the model has broken down.
    """
    timesteps = [model.diffusion.at((2 * part + 1) / (2 * TIMESTEPS)) for part in range(TIMESTEPS)]
    found = []
    with torch.inference_mode():
        for start in range(0, len(subjects), BATCH):
            batch = subjects[start : start + BATCH]
            condition = model.encode_text([each.caption for each in batch], **reading)
            framing = {name: torch.cat([each.framing[name] for each in batch]) for name in batch[0].framing}
            condition = {**condition, **framing}
            clean = torch.stack([each.latent for each in batch]).to(model.device)
            columns = [_loss(model, batch, clean, timestep, condition) for timestep in timesteps]
            found.append(torch.stack(columns, dim=1))
    return torch.cat(found)


def relative(found: torch.Tensor, base: torch.Tensor) -> tuple[float, ...]:
    """Each picture's loss as a share of the base's, (pictures,): every timestep counts the same, large losses or small."""
    return tuple(float(share) for share in (found / base).mean(dim=1))


def _loss(
    model: Model, batch: Sequence[Subject], clean: torch.Tensor, timestep: torch.Tensor, condition: Condition
) -> torch.Tensor:
    drawn = torch.stack([_noise(subject, int(timestep)) for subject in batch]).to(model.device)
    times = timestep.to(model.device).expand(len(batch))
    noisy = model.diffusion.mix(clean, drawn, times)
    error = model.predict(noisy, times, condition) - model.diffusion.target(clean, drawn, times)
    return error.double().square().flatten(1).mean(1).cpu()


def _noise(subject: Subject, timestep: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(noise.seed_of("probe", subject.seed, timestep))
    return torch.randn(subject.latent.shape, generator=generator)

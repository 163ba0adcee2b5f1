"""The training loop: a generator that yields a `Step` after each optimizer step.

An update is gradient accumulation over several batches, gradient clipping, and a step of optimizer and scheduler. The loop
has no callbacks: checkpoints, metrics, previews, progress and interruption are consumers of the steps it yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from lorapipe.training import noise
from lorapipe.training.data_parallel import SINGLE, DataParallel
from lorapipe.training.diffusion import Diffusion
from lorapipe.training.seeds import seed_of


class Model(Protocol):
    """The part of a family's `Model` that the loop uses."""

    device: torch.device
    dtype: torch.dtype
    diffusion: Diffusion

    def predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Mapping[str, torch.Tensor]
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class MicroBatch:
    """The samples of one forward pass: clean latents (B, C, h, w), and a function that encodes or loads their captions.

    `mask` (B, 1, h, w) in 0 … 1 weights the loss by position, `weights` (B,) by sample; None means 1 everywhere.
    """

    latents: torch.Tensor
    condition: Callable[[], Mapping[str, torch.Tensor]]
    mask: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    samples: range | None = None
    """This rank's samples of the whole batch; None if it has all."""
    whole: int | None = None
    """Number of samples of the whole batch, over all ranks; None if this rank has all."""


@dataclass(frozen=True)
class Update:
    """The batches of one optimizer step; `step` counts from 0."""

    step: int
    batches: Sequence[MicroBatch]


@dataclass(frozen=True)
class Step:
    """A completed optimizer step. `step` counts from 1; tensors stay on the device until they are read.

    `gradient_norm` is the norm of all gradients before clipping; None without clipping.
    """

    step: int
    loss: torch.Tensor
    rates: dict[str, float]
    gradient_norm: torch.Tensor | None


@dataclass(frozen=True)
class Objective:
    """The training objective: the weighted loss of predictions at random timesteps."""

    model: Model
    loss: Callable[[torch.Tensor, torch.Tensor, Diffusion, torch.Tensor], torch.Tensor]
    weighting: Callable[[Diffusion, torch.Tensor], torch.Tensor]
    draw: Callable[[int, int, range, torch.Tensor, Diffusion], noise.NoiseDraw]
    seed: int

    def __call__(self, step: int, samples: range, batch: MicroBatch) -> torch.Tensor:
        """Return the weighted loss of each sample, (B,), for a batch with these samples of update `step`.

        As in kohya's scripts, a mask multiplies the loss without normalisation by its area, and sample weights come last.
        """
        clean, condition = batch.latents, batch.condition()
        model, diffusion = self.model, self.model.diffusion
        drawn = self.draw(self.seed, step, samples, clean, diffusion)
        clean, wanted, timesteps, added = (tensor.to(model.device) for tensor in (clean, *drawn))
        condition = {name: tensor.to(model.device) for name, tensor in condition.items()}
        prediction = model.predict(diffusion.mix(clean, added, timesteps), timesteps, condition)
        target = diffusion.target(clean, wanted, timesteps)
        weight = self.weighting(diffusion, timesteps)
        loss = self.loss(prediction.float(), target, diffusion, timesteps)
        if batch.mask is not None:
            loss = loss * batch.mask.to(model.device)
        if batch.weights is not None:
            weight = weight * batch.weights.to(model.device)
        return loss.flatten(1).mean(1) * weight


def train(
    updates: Iterable[Update],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    factor: Callable[[int], float],
    *,
    max_grad_norm: float = 0.0,
    scaler: torch.amp.GradScaler | None = None,
    constrain: Callable[[], None] | None = None,
    parallel: DataParallel = SINGLE,
) -> Iterator[Step]:
    """Do one update for each `next`.

    `factor(step)` multiplies the optimizer's learning rates. All samples of an update have equal weight, whatever the sizes
    of its batches. `max_grad_norm` 0 disables clipping. A `scaler` scales the loss against the underflow of fp16; updates
    whose gradients overflow are skipped. `constrain()` is called after each update to limit the parameters. With several
    `parallel` processes, gradients are all-reduced before the step.
    """
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    for update in updates:
        rates = {group["name"]: group["initial_lr"] * factor(update.step) for group in optimizer.param_groups}
        for group in optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        loss = parallel.all_reduce(parameters, _accumulate(update, objective, scaler))
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm) if max_grad_norm else None
        scaler.step(optimizer)
        scaler.update()
        if constrain is not None:
            constrain()
        optimizer.zero_grad(set_to_none=False)  # gradients may be views of a flat tensor
        yield Step(update.step + 1, loss, rates, norm)


def _accumulate(update: Update, objective: Objective, scaler: torch.amp.GradScaler) -> torch.Tensor:
    """Accumulate the gradients of an update's mean loss over all its samples; return that loss."""
    _seed(objective.model.device, seed_of("modules", objective.seed, update.step))
    sizes = [len(batch.latents) if batch.whole is None else batch.whole for batch in update.batches]
    count, total = sum(sizes), torch.zeros((), device=objective.model.device)
    done = 0
    for batch, size in zip(update.batches, sizes, strict=True):
        samples = range(done, done + size)
        if batch.samples is not None:
            samples = samples[batch.samples.start : batch.samples.stop : batch.samples.step]
        if samples:
            loss = objective(update.step, samples, batch).sum() / count
            if loss.requires_grad:  # not if a word alone is trained and no caption of the batch contains it
                scaler.scale(loss).backward()
            total += loss.detach()
        done += size
    return total


def _seed(device: torch.device, seed: int) -> None:
    """Seed the default generators, for dropout in modules (0.01 ms; `torch.manual_seed` takes 0.24)."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)

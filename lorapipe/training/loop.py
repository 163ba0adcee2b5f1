"""The training loop: a generator that yields a `Step` for each update and knows nothing else.

An update is gradient accumulation over the batches of a group, gradient clipping, the optimizer's step and the scheduler's.
Everything arrives as an argument; nothing is called back. Checkpoints, curves, previews, progress and interruption are
consumers of what it yields.
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
    """What is used of a family's `Model`."""

    device: torch.device
    dtype: torch.dtype
    diffusion: Diffusion

    def predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Mapping[str, torch.Tensor]
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class MicroBatch:
    """What goes through the network at once: clean latents (B, C, h, w), and what encodes or fetches their captions.

    `mask` (B, 1, h, w), 0 … 1, is where the loss is counted, `weights` (B,) how much each sample counts; None is everywhere,
    and alike.
    """

    latents: torch.Tensor
    condition: Callable[[], Mapping[str, torch.Tensor]]
    mask: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    samples: range | None = None
    """Which of the whole batch's samples these are, where others take the rest; all of them if None."""
    whole: int | None = None
    """Samples of the whole batch."""


@dataclass(frozen=True)
class Update:
    """One optimizer step to be made: update `step`, from 0, over the samples of all its batches."""

    step: int
    batches: Sequence[MicroBatch]


@dataclass(frozen=True)
class Step:
    """One optimizer step that was made. `step` counts from 1; tensors stay on the device until someone reads them.

    `gradient_norm` is the length of all gradients before they were clipped; None where they are not.
    """

    step: int
    loss: torch.Tensor
    rates: dict[str, float]
    gradient_norm: torch.Tensor | None


@dataclass(frozen=True)
class Objective:
    """What is minimised: the weighted loss of predictions at random timesteps."""

    model: Model
    loss: Callable[[torch.Tensor, torch.Tensor, Diffusion, torch.Tensor], torch.Tensor]
    weighting: Callable[[Diffusion, torch.Tensor], torch.Tensor]
    draw: Callable[[int, int, range, torch.Tensor, Diffusion], noise.NoiseDraw]
    seed: int

    def __call__(self, step: int, samples: range, batch: MicroBatch) -> torch.Tensor:
        """The weighted loss of each sample, (B,), for a batch that has these samples of update `step`.

        A mask multiplies the loss, which is not made up for what is masked; weights come last: as in kohya's.
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
    """Make the updates, one for each `next`.

    `factor(step)` is what the optimizer's rates are multiplied by. Every sample of an update weighs the same, whichever
    batch it came in. `max_grad_norm` 0 does not clip. With a `scaler`, gradients are scaled against the underflow of
    fp16, and an update whose gradients overflowed is left out. `constrain()` puts the parameters back within their
    limits after each update. With `parallel` processes gradients are all-reduced before the step.
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
        optimizer.zero_grad(set_to_none=False)  # gradients may be windows into one tensor
        yield Step(update.step + 1, loss, rates, norm)


def _accumulate(update: Update, objective: Objective, scaler: torch.amp.GradScaler) -> torch.Tensor:
    """Add up the gradients of an update's mean loss over all its samples, batch by batch; return that loss."""
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
            scaler.scale(loss).backward()
            total += loss.detach()
        done += size
    return total


def _seed(device: torch.device, seed: int) -> None:
    """Fix what modules draw for themselves, such as dropout. (`torch.manual_seed` takes 0.24 ms, this 0.01.)"""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)

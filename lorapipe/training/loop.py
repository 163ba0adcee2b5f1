"""The training loop: a generator that yields a `Step` after each optimizer step.

An update is gradient accumulation over several batches, gradient clipping, and a step of optimizer and scheduler. The loop
has no callbacks: checkpoints, metrics, previews, progress and interruption are consumers of the steps it yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

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


Inputs: TypeAlias = Mapping[str, torch.Tensor]
"""All tensors that the loss of a batch is computed from, by name; conditions by their own, others as `Objective.inputs`."""
Pass: TypeAlias = Callable[[Inputs], torch.Tensor]
"""A forward and backward pass: adds the gradients of a batch's share of an update's loss, and returns that share."""


@dataclass(frozen=True)
class Objective:
    """The training objective: the weighted loss of predictions at random timesteps.

    `encode` makes a condition of what `MicroBatch.condition` returns, with gradients, where a text encoder is trained.
    """

    model: Model
    loss: Callable[[torch.Tensor, torch.Tensor, Diffusion, torch.Tensor], torch.Tensor]
    weighting: Callable[[Diffusion, torch.Tensor], torch.Tensor]
    draw: Callable[[int, int, range, torch.Tensor, Diffusion], noise.NoiseDraw]
    seed: int
    encode: Callable[[Inputs], Inputs] | None = None

    def __call__(self, step: int, samples: range, batch: MicroBatch) -> torch.Tensor:
        """Return the weighted loss of each sample, (B,), for a batch with these samples of update `step`."""
        return self.losses(placed(self.inputs(step, samples, batch), self.model.device))

    def inputs(self, step: int, samples: range, batch: MicroBatch) -> dict[str, torch.Tensor]:
        """Return all tensors that the loss depends on, random ones included, wherever they lie.

        They are `clean`, `wanted` (noise to predict), `timesteps`; `added` (noise on the input) where that is another;
        `mask` and `weights` where the batch has them; and its condition.
        """
        drawn = self.draw(self.seed, step, samples, batch.latents, self.model.diffusion)
        found = {"clean": batch.latents, "wanted": drawn.target, "timesteps": drawn.timesteps}
        if drawn.added is not drawn.target:
            found["added"] = drawn.added
        if batch.mask is not None:
            found["mask"] = batch.mask
        if batch.weights is not None:
            found["weights"] = batch.weights
        return {**batch.condition(), **found}

    def losses(self, inputs: Inputs) -> torch.Tensor:
        """Return the weighted loss of each sample, (B,), from `inputs` on the model's device, a function of them alone.

        As in kohya's scripts, a mask multiplies the loss without normalisation by its area, and sample weights come last.
        """
        model, diffusion = self.model, self.model.diffusion
        clean, wanted, timesteps = inputs["clean"], inputs["wanted"], inputs["timesteps"]
        condition = inputs if self.encode is None else {**inputs, **self.encode(inputs)}
        noisy = diffusion.mix(clean, inputs.get("added", wanted), timesteps)
        prediction = model.predict(noisy, timesteps, condition)
        target = diffusion.target(clean, wanted, timesteps)
        weight = self.weighting(diffusion, timesteps)
        loss = self.loss(prediction.float(), target, diffusion, timesteps)
        if "mask" in inputs:
            loss = loss * inputs["mask"]
        if "weights" in inputs:
            weight = weight * inputs["weights"]
        return loss.flatten(1).mean(1) * weight


def placed(inputs: Inputs, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the inputs on a device."""
    return {name: tensor.to(device) for name, tensor in inputs.items()}


class Passes(Protocol):
    """Runs passes; `release` frees what it keeps between them, and returns whether that was anything."""

    def __call__(self, run: Pass, inputs: Inputs) -> torch.Tensor: ...

    def release(self) -> bool: ...


@dataclass(frozen=True)
class PlainPasses:
    """Runs each pass as it comes."""

    device: torch.device

    def __call__(self, run: Pass, inputs: Inputs) -> torch.Tensor:
        return run(placed(inputs, self.device))

    def release(self) -> bool:
        return False


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
    passes: Passes | None = None,
) -> Iterator[Step]:
    """Do one update for each `next`.

    `factor(step)` multiplies the optimizer's learning rates. All samples of an update have equal weight, whatever the sizes
    of its batches. `max_grad_norm` 0 disables clipping. A `scaler` scales the loss against the underflow of fp16; updates
    whose gradients overflow are skipped. `constrain()` is called after each update to limit the parameters. With several
    `parallel` processes, gradients are all-reduced before the step. `passes` runs the passes; by default each as it comes.
    """
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    passes = passes or PlainPasses(objective.model.device)
    run = partial(_forward_backward, objective, scaler)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    for update in updates:
        rates = {group["name"]: group["initial_lr"] * factor(update.step) for group in optimizer.param_groups}
        for group in optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        if (loss := _accumulated(update, objective, passes, run)) is None:
            optimizer.zero_grad(set_to_none=False)  # of the passes that were complete
            loss = _accumulate(update, objective, partial(passes, run))
        loss = parallel.all_reduce(parameters, loss)
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm) if max_grad_norm else None
        scaler.step(optimizer)
        scaler.update()
        if constrain is not None:
            constrain()
        optimizer.zero_grad(set_to_none=False)  # gradients may be views of a flat tensor
        yield Step(update.step + 1, loss, rates, norm)


def _forward_backward(objective: Objective, scaler: torch.amp.GradScaler, inputs: Inputs) -> torch.Tensor:
    """Add the gradients of the batch's losses over `count`, the samples of the whole update; return their sum."""
    loss = objective.losses(inputs).sum() / inputs["count"]
    if loss.requires_grad:  # not if a word alone is trained and no caption of the batch contains it
        scaler.scale(loss).backward()
    return loss.detach()


def _accumulated(update: Update, objective: Objective, passes: Passes, run: Pass) -> torch.Tensor | None:
    """Return `_accumulate`'s loss; None where memory was short, and `passes` has freed some, so that it may be repeated."""
    try:
        return _accumulate(update, objective, partial(passes, run))
    except torch.cuda.OutOfMemoryError:
        if not passes.release():
            raise
        return None


def _accumulate(update: Update, objective: Objective, run: Pass) -> torch.Tensor:
    """Accumulate the gradients of an update's mean loss over all its samples; return that loss."""
    _seed(objective.model.device, seed_of("modules", objective.seed, update.step))
    sizes = [len(batch.latents) if batch.whole is None else batch.whole for batch in update.batches]
    count, total = torch.tensor(float(sum(sizes))), torch.zeros((), device=objective.model.device)
    done = 0
    for batch, size in zip(update.batches, sizes, strict=True):
        samples = range(done, done + size)
        if batch.samples is not None:
            samples = samples[batch.samples.start : batch.samples.stop : batch.samples.step]
        if samples:
            total += run({**objective.inputs(update.step, samples, batch), "count": count})
        done += size
    return total


def _seed(device: torch.device, seed: int) -> None:
    """Seed the default generators, for dropout in modules (0.01 ms; `torch.manual_seed` takes 0.24)."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)

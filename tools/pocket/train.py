"""The one training loop of this package: resumable to the bit, because nothing in it depends on history but the state.

Batches and noise are functions of (seed, step), so a checkpoint is the model, its average, the optimizer and a number.
"""

import copy
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import torch
from torch import Tensor, nn

from lorapipe.checksum import reading, writing
from lorapipe.errors import LorapipeError

CHECKPOINT_EVERY = 250


def generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one training step."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def learning_rate(step: int, cycles: Sequence[int], peak: float, warmup: int = 100) -> float:
    """In each of `cycles` (numbers of steps) a linear warm-up, then a cosine to one hundredth of that cycle's peak.

    The first cycle's peak is `peak`, each later one's is half of the one before (warm restarts, Loshchilov & Hutter 2017).
    `step` lies within the cycles.
    """
    for length in cycles:
        if step < length:
            break
        step, peak = step - length, peak / 2
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, length - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def average_in(checkpoint: Path, command: str) -> dict[str, Tensor]:
    """The average that a training has kept so far; `LorapipeError` names the command that makes it."""
    if not checkpoint.exists():
        raise LorapipeError(f"{checkpoint} is missing.", cure=f"Train it first: python -m tools.pocket {command}")
    average: dict[str, Tensor] = torch.load(checkpoint, weights_only=True)["average"]
    return average


class TrainingRun:
    """Trains `model` with AdamW for the steps of all `cycles`, keeping an exponential moving average.

    `cycles` and `peak` make the learning rate (see `learning_rate`); adding a cycle goes on with a finished training.

    Iterating resumes from `checkpoint` if it exists, yields (step, loss) after every update and writes the checkpoint
    every `CHECKPOINT_EVERY` steps and at the end. `average` is the model to use.
    """

    def __init__(
        self, model: nn.Module, cycles: Sequence[int], peak: float, checkpoint: Path, decay: float = 0.999
    ) -> None:
        self.model, self.cycles, self.peak, self.checkpoint, self.decay = model, cycles, peak, checkpoint, decay
        self.steps = sum(cycles)
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
        self.step = 0

    def run(self, loss_at: Callable[[int], Tensor]) -> Iterator[tuple[int, float]]:
        """Train with `loss_at(step)`, a scalar that depends on nothing but the model and the step."""
        self.resume()
        while self.step < self.steps:
            loss = loss_at(self.step)
            self._update(loss)
            self.step += 1
            if self.step % CHECKPOINT_EVERY == 0 or self.step == self.steps:
                self.save()
            yield self.step, loss.item()

    def _update(self, loss: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.cycles, self.peak)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def save(self) -> None:
        """Write the checkpoint aside and rename it, so that a kill or a power cut leaves the previous one whole."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with writing(self.checkpoint) as file:
            torch.save(state, file)

    def resume(self) -> None:
        """Take up the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        try:
            with reading(self.checkpoint) as file:
                state = torch.load(cast("IO[bytes]", file), weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
            what = f"{self.checkpoint} is not a checkpoint of this model: {error}"
            raise LorapipeError(what, cure="Delete it to start over.") from None
        self.step = state["step"]

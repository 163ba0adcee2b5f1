"""Resumable training loop that all trainings here share.

Batches and noise come from the device's generator, which is seeded at each step, so a checkpoint is only the model, its EMA,
the optimizer and the step. On CUDA a step is one CUDA graph, and computes in bf16.
"""

import copy
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, cast

import torch
from torch import Tensor, nn

from lorapipe.checksum import reading, writing
from lorapipe.errors import LorapipeError

CHECKPOINT_EVERY = 250
WARM_STEPS = 4
"""Steps before graph capture, in which libraries choose their kernels."""


def learning_rate(step: int, cycles: Sequence[int], peak: float, warmup: int = 100) -> float:
    """Return the learning rate: in each of `cycles` (lengths in steps) a linear warm-up, then a cosine to 1 % of its peak.

    The first cycle's peak is `peak`, each later one's half of the previous (warm restarts, Loshchilov & Hutter 2017).
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
    """Load a training's EMA weights; `LorapipeError` names the command that makes them."""
    if not checkpoint.exists():
        raise LorapipeError(f"{checkpoint} is missing.", cure=f"Train it first: python -m tools.pocket {command}")
    with reading(checkpoint) as file:
        average: dict[str, Tensor] = torch.load(cast("IO[bytes]", file), map_location="cpu", weights_only=True)[
            "average"
        ]
    return average


class TrainingRun:
    """Trains `model` with AdamW for the steps of all `cycles`, keeping an exponential moving average.

    `cycles` and `peak` define the learning rate (see `learning_rate`); another cycle continues a finished training.

    Iterating resumes from `checkpoint` if it exists, yields (step, loss) after every update, and writes the checkpoint
    every `CHECKPOINT_EVERY` steps and at the end. `average` is the EMA, the model to use.
    """

    def __init__(
        self,
        model: nn.Module,
        cycles: Sequence[int],
        peak: float,
        checkpoint: Path,
        decay: float = 0.999,
        seed: int = 0,
    ) -> None:
        self.model, self.cycles, self.peak, self.checkpoint, self.decay = model, cycles, peak, checkpoint, decay
        self.steps, self.seed = sum(cycles), seed
        self.average = copy.deepcopy(model).requires_grad_(False)
        self._parameters, self._averages = [*model.parameters()], [*self.average.parameters()]
        device = self._parameters[0].device
        self._is_cuda = device.type == "cuda"
        self._rate, self._weight = torch.zeros((), device=device), torch.zeros((), device=device)
        self.optimizer = torch.optim.AdamW(
            self._parameters,
            lr=self._rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            foreach=self._is_cuda,
            capturable=self._is_cuda,
        )
        self.step = 0

    def run(self, loss: Callable[[], Tensor]) -> Iterator[tuple[int, float]]:
        """Train with `loss()`, a scalar function of the model and the device's random numbers alone."""
        self.resume()
        first = self.step
        update: Callable[[], Tensor] = partial(self._update, loss)
        while self.step < self.steps:
            self._prepare()
            if self._is_cuda and self.step == first + WARM_STEPS:
                update = self._captured(loss)
            value = update()
            self.step += 1
            if self.step % CHECKPOINT_EVERY == 0 or self.step == self.steps:
                self.save()
            yield self.step, float(value)

    def _prepare(self) -> None:
        """Set random seed, learning rate and EMA decay of a step."""
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        self._rate.fill_(learning_rate(self.step, self.cycles, self.peak))
        self._weight.fill_(1 - min(self.decay, (1 + self.step) / (10 + self.step)))

    def _update(self, loss: Callable[[], Tensor]) -> Tensor:
        with self._precision():
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            gaps = torch._foreach_sub(self._parameters, self._averages)
            torch._foreach_mul_(gaps, self._weight)
            torch._foreach_add_(self._averages, gaps)
        return value.detach()

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False) if self._is_cuda else nullcontext()

    def _captured(self, loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Capture the update as a CUDA graph; return the function that replays it."""
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = self._update(loss)

        def replay() -> Tensor:
            graph.replay()
            return value

        return replay

    def save(self) -> None:
        """Write the checkpoint atomically, so that a kill or power cut leaves the previous one intact."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with writing(self.checkpoint) as file:
            torch.save(state, file)

    def resume(self) -> None:
        """Load the checkpoint, if there is one."""
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
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate
        self.step = state["step"]

"""Processes that train together: each takes its share of every batch, and gradients and losses are added up.

The samples of a batch are dealt out by their number, and noise is a function of that number; so the sum is what one process
would have had, within rounding, and how many devices there were does not matter for the result.

torch.distributed itself rather than accelerate over it: all that is needed is one sum a step, and a worker that goes on to
other stages must be rid of the group afterwards, which accelerate's global state does not provide for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

PATIENCE = timedelta(minutes=10)
"""How long one waits for another: the slowest thing between two sums is a set of previews."""


@dataclass(frozen=True)
class Team:
    """This process's place, from 0, among `size`."""

    place: int = 0
    size: int = 1

    def share(self, samples: range) -> range:
        """The samples of a batch that this process takes."""
        return samples[self.place :: self.size]

    def add_up(self, parameters: Sequence[torch.nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """The loss over all processes; the parameters' gradients become their sums."""
        if self.size == 1:
            return loss
        for parameter in parameters:
            if parameter.grad is None:  # where this process had no sample
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        whole = torch.cat([*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1).to(gradients[0].dtype)])
        torch.distributed.all_reduce(whole)
        for gradient, total in zip(gradients, whole.split([*(g.numel() for g in gradients), 1]), strict=False):
            gradient.copy_(total.view_as(gradient))
        return whole[-1]


ALONE = Team()


@contextmanager
def joined(place: int, size: int, device: str, meeting: Path) -> Iterator[Team]:
    """A team of `size` whose members all come to the same file, which nobody has used before."""
    backend = "nccl" if torch.device(device).type == "cuda" and torch.distributed.is_nccl_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        backend, init_method=meeting.absolute().as_uri(), rank=place, world_size=size, timeout=PATIENCE
    )
    try:
        yield Team(place, size)
    finally:
        torch.distributed.destroy_process_group()


def abort() -> None:
    """Let whatever waits for the other members fail, on whichever thread; nothing where no group is joined."""
    with suppress(Exception):
        torch.distributed.distributed_c10d._get_default_group().abort()

"""Distributed data-parallel (DDP) training: each process computes a shard of every batch; gradients are all-reduced.

The samples of a batch are dealt to ranks by their number, and noise is a function of that number. So the sum of the
gradients is that of a single process, within rounding, and the world size does not change the result.

This uses torch.distributed and not accelerate: one all-reduce per step is all that is needed, and a worker that goes on to
other stages must be able to destroy the process group, which accelerate's global state does not provide for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others; the slowest work between two all-reduces is a set of previews."""


@dataclass(frozen=True)
class DataParallel:
    """The rank of this process, from 0, and the world size: how many processes train together."""

    rank: int = 0
    world_size: int = 1

    def shard(self, samples: range) -> range:
        """The samples of a batch that this process computes."""
        return samples[self.rank :: self.world_size]

    def all_reduce(self, parameters: Sequence[torch.nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """Replace the parameters' gradients by their sums over all processes; return the sum of the losses."""
        if self.world_size == 1:
            return loss
        for parameter in parameters:
            if parameter.grad is None:  # this process had no sample
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        buffer = torch.cat([*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1).to(gradients[0].dtype)])
        torch.distributed.all_reduce(buffer)
        for gradient, total in zip(gradients, buffer.split([*(g.numel() for g in gradients), 1]), strict=False):
            gradient.copy_(total.view_as(gradient))
        return buffer[-1]


SINGLE = DataParallel()
"""A training in one process."""


@contextmanager
def process_group(rank: int, world_size: int, device: str, rendezvous: Path) -> Iterator[DataParallel]:
    """Join the process group whose members all meet at `rendezvous`, a file that nobody has used before."""
    backend = "nccl" if torch.device(device).type == "cuda" and torch.distributed.is_nccl_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        backend, init_method=rendezvous.absolute().as_uri(), rank=rank, world_size=world_size, timeout=TIMEOUT
    )
    try:
        yield DataParallel(rank, world_size)
    finally:
        torch.distributed.destroy_process_group()


def abort() -> None:
    """Make every wait for another rank fail, on whichever thread; nothing where there is no process group."""
    with suppress(Exception):
        torch.distributed.distributed_c10d._get_default_group().abort()

"""Distributed data-parallel (DDP) training: each process computes a shard of every batch; gradients are all-reduced.


A batch's samples are distributed over the ranks by index, and noise is a function of that index. So the summed gradients
equal those of a single process, within rounding, and the world size does not change the result.

This uses torch.distributed instead of accelerate: it needs only one all-reduce per step, and the worker, which runs other
stages afterwards, must destroy the process group, for which accelerate's global state has no provision.
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
        """Return the samples of a batch that this process computes."""
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
"""Training in one process."""


@contextmanager
def process_group(rank: int, world_size: int, device: str, rendezvous: Path) -> Iterator[DataParallel]:
    """Join the process group at `rendezvous`, a new file that all ranks name; destroy it on exit."""
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
    """Make pending collectives fail, in any thread; do nothing if there is no process group."""
    with suppress(Exception):
        torch.distributed.distributed_c10d._get_default_group().abort()

"""Conversion of pictures to arrays and tensors."""

from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lorapipe.pocket.draw import draw
from lorapipe.pocket.world import Creature, sample

HELD_OUT = 1  # the seed of held-out creatures


def creatures(seed: int, count: int) -> list[Creature]:
    """Sample `count` creatures, as a function of the seed."""
    rng = Random(seed)
    return [sample(rng) for _ in range(count)]


def render(population: list[Creature]) -> NDArray[np.uint8]:
    """Draw creatures: (N, 64, 64, 3) bytes."""
    return np.stack([np.asarray(draw(creature)) for creature in population])


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Convert (N, H, W, 3) bytes to (N, 3, H, W) in -1..1, in channels-last memory format for fast convolutions."""
    return to_float(torch.from_numpy(pictures))


def to_float(pictures: Tensor) -> Tensor:
    """Convert a tensor of bytes like `to_tensor`, on its device."""
    return pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """Invert `to_tensor`, with rounding and clipping."""
    return tensor.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()

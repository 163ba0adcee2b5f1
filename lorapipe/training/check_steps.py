"""After which steps early stopping looks at a training, and what that costs. Light: for plans."""

from __future__ import annotations

import math
from collections.abc import Mapping

PICTURES = 8
"""Pictures of each set."""
LEVELS: Mapping[str, int] = {"fit": 2, "held_out": 4, "drift": 2}
"""Noise levels at which each set of pictures is looked at."""
CHECK_PASSES = PICTURES * sum(LEVELS.values())
"""Passes of the network that a check costs at the most."""
CHECKS = 20
"""So often a training is looked at, where that is not too dear."""
SHARE = 0.2
"""The most of the training's passes of the network that checks may cost."""
BACKWARD = 3
"""A training step costs as much as so many passes forward."""


def check_steps(total: int, pictures: int) -> frozenset[int]:
    """The steps after which a training of `total` steps of so many pictures each is looked at; not after the last.

    At equal distances: a twentieth of it, or more where checks would cost more than `SHARE` of the training.
    """
    dear = CHECK_PASSES / (BACKWARD * pictures * SHARE)
    distance = max(math.ceil(total / CHECKS), math.ceil(dear))
    return frozenset(range(distance, total, distance))
